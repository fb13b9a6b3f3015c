"""Tables and JSON: the only place where data meets the terminal."""

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from batchrunner.cli.pipes import until_unread
from batchrunner.cli.text import paragraph, safe
from batchrunner.formats.base import exact_usd

if TYPE_CHECKING:
    from batchrunner.store.base import CostRow


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Print a table on stdout; columns in ``right`` are aligned to the right. Cells are made safe here.

    On a terminal that is too narrow for it, each row is a block of lines instead.
    """
    cells = [[safe(cell).replace("\n", " ") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    if sys.stdout.isatty() and _too_wide(widths, right):
        _blocks(headers, cells)
        return
    click.echo(_row(headers, widths, right).rstrip())
    click.echo("  ".join("-" * width for width in widths))
    for row in cells:
        click.echo(_row(row, widths, right).rstrip())


def _too_wide(widths: Sequence[int], right: Sequence[int]) -> bool:
    """Whether more than a text at the end of the lines would be broken."""
    whole = widths if len(widths) - 1 in right else widths[:-1]
    return sum(whole) + 2 * (len(whole) - 1) > shutil.get_terminal_size().columns


def _blocks(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    width = max(map(len, headers))
    for number, row in enumerate(rows):
        if number:
            click.echo()
        for header, cell in zip(headers, row, strict=True):
            if cell:
                click.echo(f"{header.ljust(width)}  {cell}")


def _row(cells: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> str:
    return "  ".join(
        cell.rjust(width) if index in right else cell.ljust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )


def as_json(value: Any) -> None:
    """Print one JSON object on stdout, indented on a terminal; what could steer a terminal is escaped."""
    try:
        encoded = msgspec.json.encode(value)
    except UnicodeEncodeError:  # a path that is not UTF-8; as escapes it is text all the same
        encoded = json.dumps(msgspec.to_builtins(value)).encode()
    if sys.stdout.isatty():
        encoded = msgspec.json.format(encoded, indent=2)
    click.echo(escaped(encoded.decode()))


def escaped(text: str) -> str:
    """Escape the way JSON does it, so that a reader gets the very same text."""
    if text.isascii() and "\x7f" not in text:
        return text
    plain = "utf" in (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    return "".join(
        char if (plain or char.isascii()) and safe(char) == char else json.dumps(char)[1:-1] for char in text
    )


def talk(message: str, *, quiet: bool = False) -> None:
    """Say something to the person, on stderr, as long as anybody listens there: the work goes on without."""
    if not quiet:
        with until_unread(sys.stderr):
            blank = "\n" if message.startswith("\n") else ""
            click.echo(blank + paragraph(message.strip("\n")), err=True)


def exact(pico: int | None) -> str | None:
    """Return pico-dollars as a decimal string with every digit, for ``--json``; None where it is unknown."""
    return None if pico is None else exact_usd(pico)


def when(microseconds: int | None) -> str | None:
    """Return an ISO 8601 time in UTC; None for never."""
    if microseconds is None:
        return None
    from datetime import UTC, datetime

    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def money(row: "CostRow | None") -> str:
    """Return the cost of a slice in one cell: what is certain, and in words what comes on top of it."""
    from batchrunner.core.pricing import dollars

    if row is None:
        return dollars(0)
    more = [
        f"+ {dollars(amount)} {name}"
        for name, amount in (
            ("estimated", row.estimated),
            ("possibly billed", row.possibly_billed),
            ("wasted", row.wasted),
        )
        if amount
    ]
    unpriced = [f"+ {row.unpriced:,} unpriced"] if row.unpriced else []
    return " ".join([dollars(row.recorded), *more, *unpriced])
