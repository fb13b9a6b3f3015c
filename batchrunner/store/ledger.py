"""The statements of a group commit: attempts are opened, closed, and the rollups move with them.

This is the hot path of the whole program, so its statements are strings that take a group at once, past SQLAlchemy
(``driver``), and what they are given are plain tuples. Everything that is not hot lives in ``queue``.
"""

import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from batchrunner.core.attempt import Billing, Failure, Outcome, Reply
from batchrunner.core.clock import DAY
from batchrunner.core.request import Closing, Opened, Opening, Release
from batchrunner.core.retry import AskAgain, FallBack, GiveUp, RetryAt, Stop, Succeed
from batchrunner.store.again import ask_again, fall_back, with_bodies_of_their_own
from batchrunner.store.driver import ManyRows, driver
from batchrunner.store.rollups import Counts, Totals, add_closed, add_counts, add_totals, take_closed, tally
from batchrunner.store.rows import id_list

KEPT_OF_A_REFUSAL = 16 * 1024
"""Bytes of a refusal's body that are kept."""
KEPT_OF_A_MESSAGE = 2_000
"""Characters of a failure's message that are kept."""
MOST_TOKENS = 10**9
"""A call that reports more can't be true, and would overflow a sum: its usage counts as unreadable."""
MOST_MONEY = 2**56
"""Pico-dollars, 72,000 dollars: a call that would cost more has no known cost. A sum holds 9.2 million dollars."""

_ATTEMPT = ManyRows(
    """INSERT INTO attempts (id, request_id, n, runner_id, job_id, model_id, tag_set_id, endpoint, account, class,
 opened, rate_id, hold, sent_digest) VALUES %s""",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, 'live', ?, ?, ?, ?)",
)
_RUN = """UPDATE requests SET state = 'running', runner_id = ?, attempts = attempts + 1
 WHERE id IN (SELECT value FROM json_each(?)) AND state = 'queued' AND attempts = ?"""
_BODIES = """SELECT b.request_id, b.data FROM json_each(?) AS j CROSS JOIN bodies AS b ON b.request_id = j.value"""

_FORGET = "DELETE FROM attempts WHERE id IN (SELECT value FROM json_each(?)) AND ended IS NULL"
_REQUEUE = """UPDATE requests SET state = iif(state = 'running', 'queued', state), runner_id = NULL,
 attempts = attempts - 1 WHERE id IN (SELECT value FROM json_each(?)) RETURNING job_id, model_id, state"""

_STANDING = """SELECT a.id, a.request_id, a.ended IS NULL, a.outcome, r.state
 FROM json_each(?) AS j CROSS JOIN attempts AS a ON a.id = j.value CROSS JOIN requests AS r ON r.id = a.request_id"""
_CLOSE = """UPDATE attempts SET ended = ?, outcome = ?, failure = ?, status = ?, provider_request_id = ?,
 echoed_model = ?, billing = ?, use = ?, usage_from = ?, tin = ?, tcached = ?, tout = ?, treason = ?, usage_raw = ?,
 cost = ?, ttfb = ?, error = ?, flags = ? WHERE id = ?"""
_MOVE = """UPDATE requests SET state = ?, not_before = ?, tries = tries + ?, attempt_id = ?, failure = ?,
 runner_id = NULL WHERE id = ?"""
_SUCCEED = ManyRows(
    """UPDATE requests SET state = 'succeeded', not_before = 0, attempt_id = v.column2, failure = NULL,
 runner_id = NULL FROM (VALUES %s) AS v WHERE requests.id = v.column1""",
    "(?, ?)",
)
_RESPONSE = ManyRows("INSERT INTO responses (request_id, attempt_id, crc, body) VALUES %s", "(?, ?, ?, ?)")
_DISCARD = "INSERT OR REPLACE INTO discards (attempt_id, crc, body) VALUES (?, ?, ?)"

Row = tuple[Any, ...]
_NO_USAGE = (None, None, None, None)


def open_attempts(
    connection: Connection,
    openings: Sequence[Opening],
    *,
    first_id: int,
    runner_id: int,
    account: Callable[[int], str],
) -> list[Opened]:
    """Write the attempts, set their requests running, return the bodies in the order asked.

    ``account`` gives the label of a lane's account. Raises RuntimeError for a request that is not queued, or was
    attempted since it was claimed: then nothing may be sent.
    """
    attempts: list[Any] = []
    fresh: dict[int, list[int]] = defaultdict(list)  # by the attempts that their heads know of
    counts: Counts = defaultdict(int)
    for attempt_id, (head, opened, rate_id, hold) in enumerate(openings, first_id):
        request_id, job_id, lane_id, endpoint, tag_set_id, _, made, _, _, _, digest = head
        attempts += attempt_id, request_id, made + 1, runner_id, job_id, lane_id, tag_set_id, endpoint
        attempts += account(lane_id), opened, rate_id, _money(hold), digest
        fresh[made].append(request_id)
        counts[job_id, lane_id, "queued"] -= 1
        counts[job_id, lane_id, "running"] += 1
    cursor = driver(connection)
    moved = sum(cursor.execute(_RUN, (runner_id, id_list(ids), made)).rowcount for made, ids in fresh.items())
    if moved != len(openings):
        raise RuntimeError(f"{len(openings) - moved} of {len(openings)} requests were not queued when they were opened")
    _ATTEMPT.execute(cursor, attempts)
    add_counts(connection, counts)
    asked = [opening.head.id for opening in openings]
    bodies = dict(cursor.execute(_BODIES, (id_list(asked),)))
    open_now = [Opened(attempt_id, bodies[request_id]) for attempt_id, request_id in enumerate(asked, first_id)]
    tried = [request_id for made, ids in fresh.items() if made for request_id in ids]
    return with_bodies_of_their_own(connection, open_now, asked, tried) if tried else open_now


def release_attempts(connection: Connection, released: Sequence[Release]) -> None:
    """Forget attempts that were never sent, and queue their requests as they were, unless a late answer finished them.

    Raises RuntimeError for an attempt that is not open.
    """
    cursor = driver(connection)
    counts: Counts = defaultdict(int)
    gone = cursor.execute(_FORGET, (id_list([attempt_id for attempt_id, _ in released]),)).rowcount
    if gone != len(released):
        raise RuntimeError(f"{len(released)} attempts were released, but {gone} of them were open")
    for job_id, lane_id, state in cursor.execute(_REQUEUE, (id_list([head.id for _, head in released]),)).fetchall():
        if state == "queued":
            counts[job_id, lane_id, "running"] -= 1
            counts[job_id, lane_id, "queued"] += 1
    add_counts(connection, counts)


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
        self._moves: list[Row] = []
        self._successes: list[Any] = []
        self._responses: list[Any] = []
        self._discards: list[Row] = []
        self._again: list[Row] = []
        self._fallen: list[int] = []
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
        body = closing.outcome.body
        self._responses += request_id, closing.attempt_id, zlib.crc32(body), body
        self._successes += request_id, closing.attempt_id
        self._count(closing, request_id, state, "succeeded")

    def _move(self, closing: Closing, request_id: int, verdict: RetryAt | GiveUp | Stop | AskAgain) -> None:
        if isinstance(verdict, AskAgain):
            self._again.append((verdict, request_id))
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
        body = closing.outcome.body
        if type(closing.outcome) is Failure:
            if type(closing.verdict) is not GiveUp and closing.billing is not Billing.BILLED:
                return
            body = body[:KEPT_OF_A_REFUSAL]
        if body:
            self._discards.append((closing.attempt_id, zlib.crc32(body), body))

    def _close(self, closing: Closing, use: str) -> Row:
        """Add the closing to the totals; return the row that closes its attempt."""
        attempt_id, (head, opened, rate_id, hold), ended, outcome, _, billing, _, usage, source, cost, ttfb = closing
        hold, cost, paid, usage_from = _money(hold), _money(cost), billing._value_, source._value_
        if usage is not None and not 0 <= min(usage) <= max(usage) <= MOST_TOKENS:
            usage, usage_from, cost = None, "none", None
        tokens = usage or _NO_USAGE
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
            tally(self._totals, key, usage, (cost or 0, hold or 0, unpriced))
        return (
            *(ended, kind, failure, outcome.status, _clean(outcome.request_id), _clean(outcome.model), paid, use),
            *(usage_from, *tokens, outcome.usage_raw, cost, int(ttfb * 1e6), message, _flags(outcome), attempt_id),
        )

    def write(self, connection: Connection) -> None:
        if self._late:
            take_closed(connection, self._late)
        cursor = driver(connection)
        cursor.executemany(_CLOSE, self._attempts)
        if self._moves:
            cursor.executemany(_MOVE, self._moves)
        if self._again:
            ask_again(cursor, self._again)
        _SUCCEED.execute(cursor, self._successes)  # after the moves, which it may overrule and never the reverse
        _RESPONSE.execute(cursor, self._responses)
        if self._discards:
            cursor.executemany(_DISCARD, self._discards)
        add_counts(connection, self._counts)
        add_totals(connection, self._totals)
        if self._late:
            add_closed(connection, self._late)  # as their rows say, which another runner opened
        if self._fallen:
            fall_back(connection, self._fallen)


def _follow(verdict: RetryAt | GiveUp | Stop | AskAgain, now: int) -> tuple[str, int, int, bool, str | None]:
    """Return state, not_before, tries to add, whether this attempt settles the request, and its failure."""
    match verdict:
        case RetryAt(not_before, counts):
            return "queued", max(1, not_before), int(counts), False, None
        case AskAgain(not_before):
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


def _flags(outcome: Outcome) -> str | None:
    """Return the flags of an answer as they are stored; None where there are none, as of almost all."""
    if type(outcome) is not Reply or not outcome.flags:
        return None
    return json.dumps([_clean(flag) for flag in outcome.flags], ensure_ascii=False)


def _money(pico: int | None) -> int | None:
    return pico if pico is None or pico < MOST_MONEY else None


def _clean(text: str | None) -> str | None:
    """Return what a provider said as text that can be stored: valid UTF-8 and of bounded length."""
    if text is None or (len(text) <= KEPT_OF_A_MESSAGE and text.isascii()):
        return text
    return text[:KEPT_OF_A_MESSAGE].encode("utf-8", "replace").decode()
