"""The end of attempts: what a group of closings writes, and how requests and rollups move with it.

A part of the hot path, as ``ledger`` is: statements take a group at once.
"""

import json
import sqlite3
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from batchrunner.core.attempt import Billing, Failure, Outcome, Reply
from batchrunner.core.clock import DAY
from batchrunner.core.request import Closing
from batchrunner.core.retry import AskAgain, FallBack, GiveUp, RetryAt, Split, Stop, Succeed
from batchrunner.core.usage import OTHERS, TOKENS, Usage
from batchrunner.store.again import ask_again, fall_back
from batchrunner.store.copies import any_copies, follow
from batchrunner.store.driver import ManyRows, driver
from batchrunner.store.rollups import Counts, Totals, add_closed, add_counts, add_totals, take_closed, tally
from batchrunner.store.rows import id_list, storable
from batchrunner.store.splitting import split
from batchrunner.store.vectors import Vectored, keep_vectors

KEPT_OF_A_REFUSAL = 16 * 1024
"""Bytes of a refusal's body that are kept."""
KEPT_OF_A_MESSAGE = 2_000
"""Characters of a failure's message that are kept."""
MOST_TOKENS = 10**9
"""A call that reports more can't be true, and would overflow a sum: its usage counts as unreadable."""
MOST_UNITS = 10**12
"""The same for pixels times steps, and all else that is counted beside plain tokens."""

_STANDING = """SELECT a.id, a.request_id, a.ended IS NULL, a.outcome, r.state
 FROM json_each(?) AS j CROSS JOIN attempts AS a ON a.id = j.value CROSS JOIN requests AS r ON r.id = a.request_id"""
_CLOSE = """UPDATE attempts SET ended = ?, outcome = ?, failure = ?, status = ?, provider_request_id = ?,
 echoed_model = ?, billing = ?, use = ?, usage_from = ?, tin = ?, tcached = ?, tout = ?, treason = ?, usage_raw = ?,
 cost = ?, ttfb = ?, error = ?, ttft = ?, flags = ? WHERE id = ?"""
_UNITS = (
    f"INSERT OR REPLACE INTO units (attempt_id, {', '.join(OTHERS)}, stated_cost)"  # noqa: S608 - made of constants
    f" VALUES (?, {', '.join('?' * len(OTHERS))}, ?)"
)
_MOVE = """UPDATE requests SET state = ?, not_before = ?, tries = tries + ?, attempt_id = ?, failure = ?,
 runner_id = NULL WHERE id = ?"""
_SUCCEED = ManyRows(
    """UPDATE requests SET state = 'succeeded', not_before = 0, attempt_id = v.column2, failure = NULL,
 runner_id = NULL FROM (VALUES %s) AS v WHERE requests.id = v.column1""",
    "(?, ?)",
)
_RESPONSE = ManyRows("INSERT INTO responses (request_id, attempt_id, crc, body) VALUES %s", "(?, ?, ?, ?)")
_SENT = "UPDATE attempts SET sent_digest = ? WHERE id = ?"
_DISCARD = "INSERT OR REPLACE INTO discards (attempt_id, crc, body, partial) VALUES (?, ?, ?, ?)"

Row = tuple[Any, ...]
Tokens = tuple[int | None, int | None, int | None, int | None]
Units = tuple[Any, ...]
_NO_TOKENS: Tokens = (None, None, None, None)
_NO_UNITS = Usage()[TOKENS:]


def record_attempts(
    connection: Connection, closings: Sequence[Closing], now: int, account: Callable[[int], str]
) -> None:
    """Write the end of attempts and what follows for their requests.

    The first complete answer wins: a success is written wherever there is none yet, even for a request that had
    failed (it was paid for); everything else moves a request only while that very attempt is running it. What loses
    is kept as a wasted attempt. Raises RuntimeError for an attempt that does not exist or was closed before.
    """
    found = driver(connection).execute(_STANDING, (id_list([closing[0] for closing in closings]),))
    group = _Group(now, {row[0]: row for row in found}, account)
    for closing in closings:
        group.add(closing)
    group.write(connection)


class _Group:
    """What a group of closings comes to, statement by statement."""

    def __init__(
        self, now: int, standing: Mapping[int, tuple[int, int, int, str | None, str]], account: Callable[[int], str]
    ) -> None:
        self._now = now
        self._standing = standing
        self._account = account
        self._states: dict[int, str] = {}
        self._late: list[int] = []
        self._attempts: list[Row] = []
        self._units: list[Row] = []
        self._moves: list[Row] = []
        self._successes: list[Any] = []
        self._responses: list[Any] = []
        self._discards: list[Row] = []
        self._sent: list[Row] = []
        self._again: list[Row] = []
        self._fallen: list[int] = []
        self._split: list[tuple[Split, int]] = []
        self._vectors: list[Vectored] = []
        self._counts: Counts = defaultdict(int)
        self._totals: Totals = {}

    def add(self, closing: Closing) -> None:
        request_id, is_open, state = self._where(closing.attempt_id)
        verdict, use = closing.verdict, closing.use._value_
        if isinstance(verdict, Succeed):
            if state != "succeeded":
                self._succeed(closing, request_id, state)
            else:
                use = "wasted"
                self._discard(closing)
        else:
            if is_open and state == "running":
                if isinstance(verdict, FallBack):
                    self._fallen.append(request_id)
                    self._count(closing, request_id, state, "succeeded")
                else:
                    self._move(closing, request_id, verdict)
            self._discard(closing)
        self._attempts.append(self._close(closing, use))

    def _where(self, attempt_id: int) -> tuple[int, int, str]:
        """Return the attempt's request, whether the attempt is open, and the request's state by now."""
        standing = self._standing.get(attempt_id)
        if standing is None:
            raise RuntimeError(f"attempt {attempt_id} does not exist")
        _, request_id, is_open, outcome, state = standing
        if not is_open:
            if outcome != "lost" or attempt_id in self._late:
                raise RuntimeError(f"attempt {attempt_id} was closed before")
            self._late.append(attempt_id)
        return request_id, is_open, self._states.get(request_id, state)

    def _succeed(self, closing: Closing, request_id: int, state: str) -> None:
        if type(closing.outcome) is not Reply:
            raise TypeError(f"attempt {closing.attempt_id}: only a reply can succeed")
        if closing.outcome.vectors is None:
            body = closing.outcome.body
            self._responses += request_id, closing.attempt_id, zlib.crc32(body), body
        else:
            self._vectors.append((request_id, closing.opening.head.job_id, closing.attempt_id, closing.outcome.vectors))
        self._successes += request_id, closing.attempt_id
        self._count(closing, request_id, state, "succeeded")

    def _move(self, closing: Closing, request_id: int, verdict: RetryAt | GiveUp | Stop | AskAgain | Split) -> None:
        if isinstance(verdict, AskAgain):
            self._again.append((verdict, request_id))
        elif isinstance(verdict, Split):
            self._split.append((verdict, request_id))
            self._counts[closing.opening.head.job_id, closing.opening.head.lane_id, "queued"] += 1
        to, not_before, tries, settles, failure = _follow(verdict, self._now)
        self._moves.append((to, not_before, tries, closing.attempt_id if settles else None, failure, request_id))
        self._count(closing, request_id, "running", to)

    def _count(self, closing: Closing, request_id: int, state: str, to: str) -> None:
        head = closing.opening.head
        self._states[request_id] = to
        self._counts[head.job_id, head.lane_id, state] -= 1
        self._counts[head.job_id, head.lane_id, to] += 1

    def _discard(self, closing: Closing) -> None:
        """Keep what was paid for and not used, and what a person will want to read of a refusal."""
        body, partial = closing.outcome.body, False
        if type(closing.outcome) is Failure:
            if type(closing.verdict) is not GiveUp and closing.billing is not Billing.BILLED:
                return
            partial = closing.outcome.partial is not None
            body = closing.outcome.partial or body[:KEPT_OF_A_REFUSAL]
        if body:
            self._discards.append((closing.attempt_id, zlib.crc32(body), body, partial))

    def _close(self, closing: Closing, use: str) -> Row:
        """Add the closing to the totals; return the row that closes its attempt."""
        attempt_id, opening, ended, outcome, _, billing, _, usage, source, cost, ttfb, ttft, sent = closing
        head, opened, rate_id, hold = opening
        if sent is not None:
            self._sent.append((sent, attempt_id))
        hold, cost, paid, usage_from = storable(hold), storable(cost), billing._value_, source._value_
        tokens, units = (_NO_TOKENS, None) if usage is None else _amounts(usage)
        if tokens is None:
            tokens, usage_from, cost = _NO_TOKENS, "none", None
        elif units is not None:
            self._units.append((attempt_id, *units[:-1], storable(units[-1])))
        if type(outcome) is Reply:
            kind, failure, message = "reply", None, None
        else:
            kind, failure, message = _named(outcome)
        unpriced = (paid == "billed" and cost is None) or (paid == "unknown" and hold is None)
        if not self._late or attempt_id not in self._late:
            key = (
                *(opened // DAY, head.job_id, head.lane_id, head.endpoint, head.tag_set_id or 0, rate_id or 0),
                *(self._account(head.lane_id), "live", paid, use, usage_from, kind),
            )
            tally(self._totals, key, tokens, (cost or 0, hold or 0, unpriced), units)
        return (
            *(ended, kind, failure, outcome.status, _clean(outcome.request_id), _clean(outcome.model), paid, use),
            *(usage_from, *tokens, outcome.usage_raw, cost, int(ttfb * 1e6), message),
            *(None if ttft is None else int(ttft * 1e6), _flags(outcome), attempt_id),
        )

    def write(self, connection: Connection) -> None:
        if self._late:
            take_closed(connection, self._late)
        cursor = driver(connection)
        cursor.executemany(_CLOSE, self._attempts)
        if self._sent:
            cursor.executemany(_SENT, self._sent)
        if self._units:
            cursor.executemany(_UNITS, self._units)
        self._write_moves(cursor)
        _SUCCEED.execute(cursor, self._successes)  # after the moves, which it may overrule and never the reverse
        _RESPONSE.execute(cursor, self._responses)
        if self._vectors:
            keep_vectors(cursor, self._vectors)
        if self._discards:
            cursor.executemany(_DISCARD, self._discards)
        add_counts(connection, self._counts)
        add_totals(connection, self._totals)
        if self._late:
            add_closed(connection, self._late)  # as their rows say, which another runner opened
        if self._fallen:
            fall_back(connection, self._fallen)
        if any_copies(connection):
            follow(connection, list(self._states))

    def _write_moves(self, cursor: sqlite3.Cursor) -> None:
        if self._moves:
            cursor.executemany(_MOVE, self._moves)
        if self._again:
            ask_again(cursor, self._again)
        if self._split:
            split(cursor, self._split)


def _follow(verdict: RetryAt | GiveUp | Stop | AskAgain | Split, now: int) -> tuple[str, int, int, bool, str | None]:
    """Return state, not_before, tries to add, whether this attempt settles the request, and its failure."""
    match verdict:
        case RetryAt(not_before, counts):
            return "queued", max(1, not_before), int(counts), False, None
        case AskAgain(not_before) | Split(not_before):
            return "queued", max(1, not_before), 0, False, None
        case GiveUp(kind):
            return "failed", 0, 0, True, kind.value
        case Stop():
            return "queued", now, 0, False, None


def _named(outcome: Outcome) -> tuple[str, str | None, str | None]:
    """Return what came, and a failure's kind and message."""
    if isinstance(outcome, Reply):
        return "reply", None, None
    return "failure", outcome.kind.value, _clean(outcome.message)


def _amounts(usage: Usage) -> tuple[Tokens | None, Units | None]:
    """Return the plain tokens (None: something can't be true) and what was counted beside them (None: nothing)."""
    tokens = given, cached, made, thought = usage[:TOKENS]
    if not (0 <= given <= MOST_TOKENS and 0 <= cached <= MOST_TOKENS and 0 <= made <= MOST_TOKENS >= thought >= 0):
        return None, None
    units = usage[TOKENS:]
    if units == _NO_UNITS:
        return tokens, None
    return (tokens, units) if 0 <= min(units[:-1]) <= max(units[:-1]) <= MOST_UNITS else (None, None)


def _flags(outcome: Outcome) -> str | None:
    """Return the flags of an answer as they are stored; None where there are none, as of almost all."""
    if type(outcome) is not Reply or not outcome.flags:
        return None
    return json.dumps([_clean(flag) for flag in outcome.flags], ensure_ascii=False)


def _clean(text: str | None) -> str | None:
    """Return what a provider said as text that can be stored: valid UTF-8 and of bounded length."""
    if text is None or (len(text) <= KEPT_OF_A_MESSAGE and text.isascii()):
        return text
    return text[:KEPT_OF_A_MESSAGE].encode("utf-8", "replace").decode()
