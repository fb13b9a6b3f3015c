"""Requests that are copies of an earlier one of their job: the same body to the same lane and endpoint.

A copy is never claimed and has no attempt. It waits while its original does, and in the transaction that settles that
one it gets the same outcome: state, failure and settling attempt, whose answer stays where it is. So a copy costs no
second answer on the disk either. A job without copies has nothing in the index that all of this asks first.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from batchrunner.core.request import NewRequest
from batchrunner.store.driver import driver
from batchrunner.store.rollups import move_counts
from batchrunner.store.rows import id_list, text_list

AT_ONCE = 250_000
"""Rows whose digests are compared at a time, all of one range: what is compared lies in memory."""
_PREFIXES = 1 << 16

_ANY = "SELECT 1 FROM requests INDEXED BY requests_copies WHERE copy_of IS NOT NULL LIMIT 1"
_MARK = """UPDATE requests SET copy_of = v.first FROM (SELECT id, min(id) OVER (PARTITION BY digest, model_id, endpoint)
 AS first FROM requests NOT INDEXED WHERE id BETWEEN ? AND ? AND job_id = ? AND digest >= ? AND digest < ?
 AND endpoint IN (SELECT value FROM json_each(?))) AS v WHERE requests.id = v.id AND v.first < v.id"""
_KNOWN = """SELECT min(id), model_id, endpoint, digest FROM requests NOT INDEXED WHERE id BETWEEN ? AND ?
 AND job_id = ? AND hex(digest) IN (SELECT value FROM json_each(?))
 AND endpoint IN (SELECT value FROM json_each(?)) GROUP BY 2, 3, 4"""
_OF_ADDED = """UPDATE requests SET copy_of = ? WHERE id BETWEEN ? AND ? AND id > ? AND model_id = ? AND endpoint = ?
 AND digest = ?"""

_STATE = "iif(o.state = 'running', 'queued', o.state)"
_OF_THESE = f"""FROM json_each(?) AS j CROSS JOIN requests AS c INDEXED BY requests_copies ON c.copy_of = j.value
 CROSS JOIN requests AS o ON o.id = c.copy_of WHERE c.state <> {_STATE}"""
_OF_JOB = f"""FROM requests AS c INDEXED BY requests_copies CROSS JOIN requests AS o ON o.id = c.copy_of
 WHERE c.copy_of IS NOT NULL AND c.job_id = ? AND c.state <> {_STATE}"""
_COUNT = f"SELECT c.job_id, c.model_id, c.state, {_STATE}, count(*) %s GROUP BY 1, 2, 3, 4"
_FOLLOW = f"""UPDATE requests SET state = v.state, failure = v.failure, attempt_id = v.attempt_id, not_before = 0
 FROM (SELECT c.id, {_STATE} AS state, o.failure, o.attempt_id %s) AS v WHERE requests.id = v.id"""  # noqa: S608

_WAITING = """SELECT job_id, model_id, count(*) FROM requests INDEXED BY requests_copies
 WHERE copy_of IS NOT NULL AND state = 'queued' GROUP BY 1, 2"""


def any_copies(connection: Connection) -> bool:
    """Whether the database holds a copy: one look at an index that is empty otherwise."""
    return driver(connection).execute(_ANY).fetchone() is not None


def ranges(rows: int) -> list[tuple[bytes, bytes]]:
    """Return ranges of digests, from and up to, of which each is met by about ``AT_ONCE`` of so many rows."""
    parts = min(_PREFIXES, 1 + rows // AT_ONCE)
    bounds = [(part * _PREFIXES // parts).to_bytes(2, "big") for part in range(parts)]
    return list(zip(bounds, [*bounds[1:], b"\xff" * 17], strict=True))


def mark(
    connection: Connection, job_id: int, ids: tuple[int, int], digests: tuple[bytes, bytes], endpoints: Sequence[str]
) -> int:
    """Make copies of a loading job's later rows with equal bodies, in a range of digests; return how many.

    ``ids`` are the first and the last one of the job.
    """
    values = (*ids, job_id, *digests, text_list(endpoints))
    return driver(connection).execute(_MARK, values).rowcount


def mark_added(
    connection: Connection, job_id: int, ids: tuple[int, int], added: Sequence[NewRequest], endpoints: Sequence[str]
) -> None:
    """Make copies of the rows just added to an open job, before anybody can claim them, and settle them if they are.

    ``ids`` are the first one of the job and the first one that is new.
    """
    cursor = driver(connection)
    first, new = ids
    last = new + len(added) - 1
    digests = text_list([one.digest.hex().upper() for one in added])
    found = cursor.execute(_KNOWN, (first, last, job_id, digests, text_list(endpoints))).fetchall()
    cursor.executemany(_OF_ADDED, [(key, new, last, key, lane, endpoint, body) for key, lane, endpoint, body in found])
    follow(connection, [key for key, *_ in found])


def follow(connection: Connection, originals: Sequence[int]) -> int:
    """Give copies of these requests the outcome of their original; return how many moved."""
    return _follow(connection, _OF_THESE, id_list(originals))


def follow_job(connection: Connection, job_id: int) -> int:
    """Do the same for all copies of a job."""
    return _follow(connection, _OF_JOB, job_id)


def _follow(connection: Connection, which: str, value: str | int) -> int:
    cursor = driver(connection)
    moved = move_counts(connection, cursor.execute(_COUNT % which, (value,)).fetchall())
    if moved:
        cursor.execute(_FOLLOW % which, (value,))
    return moved


def waiting(connection: Connection) -> dict[tuple[int, int], int]:
    """Return by job and lane how many queued rows are copies, which nobody has to send."""
    rows = driver(connection).execute(_WAITING).fetchall()
    return {(job_id, lane_id): n for job_id, lane_id, n in rows}
