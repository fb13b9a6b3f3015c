"""What a database and a provider in a box hold about the same calls, read side by side.

The database is read with the plain driver and queries of its own, not through the store that wrote it: an auditor who
asks the bookkeeper learns what the bookkeeper believes.
"""

import hashlib
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from batchrunner.core.pricing import RateCard
from batchrunner.core.usage import Usage

if TYPE_CHECKING:
    from batchrunner.simulator import Entry


class Attempt(NamedTuple):
    """One purchase, by our ledger."""

    id: int
    request_id: int
    ended: int | None
    outcome: str | None
    failure: str | None
    status: int | None
    billing: str | None
    usage_from: str | None
    tin: int | None
    tcached: int | None
    tout: int | None
    rate_id: int | None
    hold: int | None
    cost: int | None
    goes_on: int
    """Whether it has a continuation: then it may be open while nobody works on it."""
    sent: str
    """First 32 hex digits of the SHA-256 of what was sent."""
    patched: int
    """Whether that was made of another body than the one that was loaded: the request was asked again."""
    usage: Usage
    """What was counted, in every unit; nothing where it is not known."""


class Row(NamedTuple):
    """One request, by our queue."""

    custom_id: str
    state: str
    failure: str | None
    endpoint: str
    sha256: str
    """Of the body that was to be sent, or to be made into what is sent, in hex."""
    composed: bool
    """Whether what is sent was made of it: then only the attempt knows its digest."""
    bounded: bool
    """Whether all that it takes are tokens, and of those no more than is known beforehand."""
    copy_of: int | None
    """The request whose outcome it shares without a call of its own."""


class Sheet:
    """Both sets of books about the same calls."""

    def __init__(self, db: str | PathLike[str], calls: Iterable["Entry"]) -> None:
        """Read the database beside whoever writes it. Raises sqlite3.Error for a file that can't be read."""
        self.db = Path(db)
        self.calls = [call for call in calls if call.method == "POST"]
        with closing(_connect(self.db)) as connection:
            connection.execute("BEGIN")  # all of it as it was at one moment, also beside a run
            self.attempts = {row[0]: _attempt(row) for row in connection.execute(_ATTEMPTS)}
            self.rows = {row[0]: _row(row) for row in connection.execute(_ROWS)}
            self.answers = [_answer(row) for row in connection.execute(_ANSWERS)]
            self.cards = {row[0]: _card(row[1]) for row in connection.execute("SELECT id, card FROM rates")}
            self.lines = connection.execute(_LINES).fetchall()
            (self.unpriced,) = connection.execute("SELECT ifnull(sum(unpriced), 0) FROM totals").fetchone()
        self.by_attempt = {mark_of(call): call for call in self.calls}

    def sent(self, attempt: Attempt) -> str:
        """Return the first hex digits of the SHA-256 of what an attempt sent; none where nobody can know them."""
        row = self.rows[attempt.request_id]
        if row.composed and attempt.outcome in (None, "lost"):
            return ""
        return attempt.sent if row.composed or attempt.patched else row.sha256

    def label(self, request_id: int) -> str:
        """Return how people know a request."""
        row = self.rows.get(request_id)
        return f"request {request_id}" if row is None else f"row {row.custom_id!r}"


def answers_in(db: str | PathLike[str]) -> dict[int, bytes]:
    """Return the answers that a database holds by request, byte for byte, beside whoever writes it.

    Raises sqlite3.Error.
    """
    with closing(_connect(Path(db))) as connection:
        return dict(connection.execute("SELECT request_id, body FROM responses").fetchall())


def results_apart(db: str | PathLike[str], out: Path) -> Iterator[str]:
    """Return how a job's results files, the good and the bad ones, differ from the one job that the database holds."""
    with closing(_connect(Path(db))) as connection:
        held = dict(connection.execute(_HELD).fetchall())
    paths = [path for path in (out, out.with_suffix(".errors.jsonl")) if path.exists()]
    lines = Counter(json.loads(line)["custom_id"] for path in paths for line in path.read_bytes().splitlines())
    ended = {custom_id for custom_id, state in held.items() if state in ("succeeded", "failed")}
    yield from (f"row {name!r} is in no results file" for name in sorted(ended - lines.keys()))
    yield from (f"row {name!r} is in the results, and has none" for name in sorted(lines.keys() - ended))
    yield from (f"row {name!r} is in the results {number} times" for name, number in lines.items() if number > 1)


def mark_of(call: "Entry") -> int:
    """Return the attempt's id that a call carried; 0, which none has, where it carried none of ours."""
    mark = call.client_request_id or ""
    return int(mark) if mark.isdecimal() and mark.isascii() and len(mark) < 19 else 0


def _connect(db: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{db.resolve().as_uri()}?mode=ro", uri=True, timeout=10)


_UNITS = (
    *("images", "pixels", "milliseconds", "characters", "searches", "pixel_steps"),
    *("audio_input", "audio_output", "image_input", "image_output"),
)
_ATTEMPTS = f"""SELECT id, request_id, ended, outcome, failure, status, billing, usage_from, tin, tcached, tout,
 rate_id, hold, cost, EXISTS (SELECT 1 FROM continuations AS c WHERE c.request_id = attempts.request_id
 AND c.attempt_id = attempts.id), lower(hex(sent_digest)), patch IS NOT NULL, {", ".join(_UNITS)}, stated_cost
 FROM attempts LEFT JOIN units ON attempt_id = id ORDER BY id"""  # noqa: S608 - made of constants
_ROWS = """SELECT r.id, r.custom_id, r.state, r.failure, r.endpoint, b.codec,
 r.est_in > 0 AND r.max_out IS NOT NULL AND r.units IS NULL, r.copy_of, b.data FROM requests AS r
 JOIN bodies AS b ON b.request_id = r.id"""
_ANSWERS = """SELECT request_id, attempt_id, body FROM responses
 UNION ALL SELECT request_id, attempt_id, x'' FROM vectors WHERE first = 0
 UNION ALL SELECT r.id, r.attempt_id, x'' FROM corpora AS c JOIN requests AS r ON r.job_id = c.job_id
 WHERE c.keep <> 1 AND r.state = 'succeeded' AND NOT EXISTS (SELECT 1 FROM vectors AS v WHERE v.request_id = r.id)"""
_HELD = "SELECT custom_id, state FROM requests"
_LINES = """SELECT j.name, j.lines, (SELECT count(*) FROM requests AS r WHERE r.job_id = j.id) FROM jobs AS j
 WHERE j.state <> 'loading'"""


def _attempt(row: tuple[Any, ...]) -> Attempt:
    *facts, stated = row
    known, units = facts[:17], dict(zip(_UNITS, (amount or 0 for amount in facts[17:]), strict=True))
    given, cached, made = (amount or 0 for amount in known[8:11])
    return Attempt._make((*known, Usage(input=given, cached=cached, output=made, cost=stated, **units)))


def _row(row: tuple[Any, ...]) -> Row:
    _, custom_id, state, failure, endpoint, codec, bounded, copy_of, body = row
    sha256 = hashlib.sha256(body).hexdigest()
    return Row(custom_id, state, failure, endpoint, sha256, codec != 0, bool(bounded), copy_of)


class _Printed(msgspec.Struct):
    system_fingerprint: str | None = None


_PRINTED = msgspec.json.Decoder(_Printed)
_PLAIN = re.compile(rb'"system_fingerprint": ?"([0-9a-z_]+)"')


def _answer(row: tuple[Any, ...]) -> tuple[int, int, str]:
    """Return request, attempt and the fingerprint that the answer carries; empty where it carries none."""
    request_id, attempt_id, body = row
    try:
        return request_id, attempt_id, _PRINTED.decode(body).system_fingerprint or ""
    except msgspec.DecodeError:  # an answer may hold what no strict reader takes, and be a good one
        found = _PLAIN.search(body)
        return request_id, attempt_id, found[1].decode() if found else ""


def _card(text: str) -> RateCard:
    return msgspec.json.decode(text, type=RateCard)
