"""Two sets of books about the same calls: the provider's and ours. Do they agree?"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec

from batchrunner.cli.text import plural

if TYPE_CHECKING:
    from batchrunner.simulator import Entry


class Killed(NamedTuple):
    """What a run that was killed left behind."""

    answered: int
    open: int
    """Attempts that were committed and not closed: sent or not, nobody on our side can know."""


class Books(NamedTuple):
    """What both sides wrote down."""

    received: int
    """Calls that the provider received."""
    ids: int
    """Different attempt ids that these calls carried."""
    answered: int
    """Calls that the provider served and bills."""
    served_tokens: int
    """Tokens of the answers, by the provider: each request once, as a repeated one gets the same answer."""
    lines: int
    custom_ids: int
    """Different ones among these lines."""
    recorded_tokens: int
    """Tokens of the same answers, by our results."""

    @classmethod
    def read(cls, entries: Iterable["Entry"], out: Path) -> Self:
        """Read the provider's ledger and our results file."""
        calls = [entry for entry in entries if entry.method == "POST"]
        served = {entry.body_sha256: _tokens(entry.usage) for entry in calls if entry.billed and entry.usage}
        results = [msgspec.json.decode(line, type=_Line) for line in out.read_bytes().splitlines()]
        reported = [line.batchrunner for line in results if line.batchrunner.usage_from == "provider"]
        return cls(
            received=len(calls),
            ids=len({entry.client_request_id for entry in calls}),
            answered=sum(entry.billed for entry in calls),
            served_tokens=sum(served.values()),
            lines=len(results),
            custom_ids=len({line.custom_id for line in results}),
            recorded_tokens=sum(each.usage.input_tokens + each.usage.output_tokens for each in reported if each.usage),
        )


class _Usage(msgspec.Struct):
    input_tokens: int
    output_tokens: int


class _Ours(msgspec.Struct):
    usage_from: str | None = None
    usage: _Usage | None = None


class _Line(msgspec.Struct):
    custom_id: str
    batchrunner: _Ours


def _tokens(usage: dict[str, int] | None) -> int:
    """Return input and output tokens of a usage as Together sends it."""
    found = usage or {}
    return found.get("prompt_tokens", 0) + found.get("completion_tokens", 0)


def audit(books: Books, *, rows: int, attempts: int, killed: Killed) -> list[tuple[bool, str]]:
    """Return what must hold between both books, each with whether it does."""
    unsent = attempts - books.received
    twice = books.answered - books.lines
    return [
        (
            books.lines == books.custom_ids == rows,
            f"{plural(books.custom_ids, 'row')} of {rows:,} answered, each exactly once: {plural(books.lines, 'line')}",
        ),
        (
            0 <= unsent <= killed.open and books.ids == books.received,
            f"{plural(attempts, 'call')} in our ledger, {books.received:,} received by the provider"
            + (f"; {unsent:,} were about to be sent when the run was killed" if unsent else ""),
        ),
        (
            twice >= 0,
            f"{plural(books.answered, 'answer')} on the provider's bill, {books.lines:,} of them used; {twice:,} got"
            f" lost on the way or with the {plural(killed.open, 'call')} open at the kill: `possibly billed`",
        ),
        (
            books.recorded_tokens == books.served_tokens,
            f"{plural(books.recorded_tokens, 'token')} in our results, {books.served_tokens:,} by the provider",
        ),
    ]
