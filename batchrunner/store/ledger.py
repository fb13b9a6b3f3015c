"""The statements of a group commit that open attempts, or take them back, and the counts that move with them.

This is the hot path of the whole program, so its statements are strings that take a group at once, past SQLAlchemy
(``driver``), and what they are given are plain tuples. Attempts are ended in ``closings``; what is not hot is in
``queue``.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from batchrunner.core.request import Head, Opened, Opening, Release, Resumption
from batchrunner.store.again import with_bodies_of_their_own
from batchrunner.store.asked import with_what_is_asked
from batchrunner.store.continuing import give_back, resume_attempts
from batchrunner.store.driver import ManyRows, driver
from batchrunner.store.rollups import Counts, add_counts
from batchrunner.store.rows import PACK, id_list, storable

_ATTEMPT = ManyRows(
    """INSERT INTO attempts (id, request_id, n, runner_id, job_id, model_id, tag_set_id, endpoint, account, class,
 opened, rate_id, hold, sent_digest) VALUES %s""",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, 'live', ?, ?, ?, ?)",
)
_RUN = """UPDATE requests SET state = 'running', runner_id = ?, attempts = attempts + 1
 WHERE id IN (SELECT value FROM json_each(?)) AND state = 'queued' AND attempts = ?"""
_BODIES = (
    """SELECT b.request_id, b.codec, b.data FROM json_each(?) AS j CROSS JOIN bodies AS b ON b.request_id = j.value"""
)

_FORGET = "DELETE FROM attempts WHERE id IN (SELECT value FROM json_each(?)) AND ended IS NULL"
_REQUEUE = """UPDATE requests SET state = iif(state = 'running', 'queued', state), runner_id = NULL,
 attempts = attempts - 1 WHERE id IN (SELECT value FROM json_each(?)) RETURNING job_id, model_id, state"""


def open_attempts(
    connection: Connection,
    openings: Sequence[Opening],
    *,
    first_id: int,
    runner_id: int,
    account: Callable[[int], str],
) -> list[Opened]:
    """Write the attempts, set their requests running, return the bodies in the order asked.

    A head that continues an attempt gets that one, with its continuation, instead of a new one.
    ``account`` gives the label of a lane's account. Raises RuntimeError for a request that is not queued, or was
    attempted since it was claimed: then nothing may be sent.
    """
    resumed: dict[int, Head] = {}
    attempts: list[Any] = []
    fresh: dict[int, list[int]] = defaultdict(list)  # by the attempts that their heads know of
    counts: Counts = defaultdict(int)
    for attempt_id, (head, opened, rate_id, hold) in enumerate(openings, first_id):
        request_id, job_id, lane_id, endpoint, tag_set_id, _, made, _, _, _, digest, _, continues = head
        counts[job_id, lane_id, "queued"] -= 1
        counts[job_id, lane_id, "running"] += 1
        if continues:
            resumed[attempt_id - first_id] = head
            continue
        attempts += attempt_id, request_id, made + 1, runner_id, job_id, lane_id, tag_set_id, endpoint
        attempts += account(lane_id), opened, rate_id, storable(hold), digest
        fresh[made].append(request_id)
    cursor = driver(connection)
    moved = sum(cursor.execute(_RUN, (runner_id, id_list(ids), made)).rowcount for made, ids in fresh.items())
    new = len(openings) - len(resumed)
    if moved != new:
        raise RuntimeError(f"{new - moved} of {new} requests were not queued when they were opened")
    going_on = resume_attempts(connection, list(resumed.values()), runner_id) if resumed else {}
    _ATTEMPT.execute(cursor, attempts)
    add_counts(connection, counts)
    asked = [opening.head.id for opening in openings]
    bodies = {row[0]: row for row in cursor.execute(_BODIES, (id_list(asked),))}
    every = [
        Opened(attempt_id, body, 0 < codec < PACK)
        for attempt_id, (_, codec, body) in enumerate(map(bodies.__getitem__, asked), first_id)
    ]
    if packs := [place for place, key in enumerate(asked) if bodies[key][1] == PACK]:
        every = with_what_is_asked(cursor, every, packs, [openings[place].head.job_id for place in packs])
    if tried := [request_id for made, ids in fresh.items() if made for request_id in ids]:
        every = with_bodies_of_their_own(connection, every, asked, tried)
    return _resumed(every, resumed, going_on) if resumed else every


def _resumed(opened: list[Opened], heads: Mapping[int, Head], resumptions: Mapping[int, Resumption]) -> list[Opened]:
    """Put the attempts that go on in their places, instead of new ones."""
    for place, head in heads.items():
        opened[place] = Opened(head.continues, opened[place].body, resumed=resumptions[head.continues])
    return opened


def release_attempts(connection: Connection, released: Sequence[Release]) -> None:
    """Forget attempts that were never sent, and queue their requests as they were, unless a late answer finished them.

    One that goes on stays open: it was bought before. Raises RuntimeError for an attempt that is not open.
    """
    continuing = [release for release in released if release.head.continues]
    if continuing:
        give_back(connection, continuing)
        released = [release for release in released if not release.head.continues]
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
