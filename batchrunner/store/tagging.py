"""Whose an attempt is: the tags of its line over those of its job, and over both what ``retag`` said afterwards.

An attempt keeps the tags that its line was loaded with. What is said of them later is kept with the job and looked at
when somebody asks, so that no number of rows makes it slow, and nothing that was written down is written anew.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from batchrunner.core.budget import Reach
from batchrunner.store.moneytables import retags
from batchrunner.store.tables import jobs, tag_sets

Change = Sequence[tuple[str, str | None]]
"""Tags to set; None: to take away."""


_ONE = "SELECT id, (SELECT value FROM json_each(tags) WHERE key = ?) AS told FROM tag_sets WHERE told IS NOT NULL"


class TagsOf:
    """Looks all tags up, each set once."""

    def __init__(self, connection: Connection) -> None:
        self._jobs = _jobs(connection)
        sets = connection.execute(select(tag_sets.c.id, tag_sets.c.tags))
        self._lines = {row[0]: _object(row[1]) for row in sets}

    def of(self, job_id: int, tag_set_id: int) -> dict[str, str]:
        """Return the tags that hold for the lines of a job with this set of their own; 0: with none."""
        own, later = self._jobs.get(job_id, ({}, {}))
        merged = own | self._lines.get(tag_set_id, {}) | later
        return {key: value for key, value in merged.items() if value is not None}


class TagOf:
    """Looks one tag up. Its values may be as many as lines, so they are picked by the database and kept flat."""

    def __init__(self, connection: Connection, key: str) -> None:
        self._lines: dict[int, str] = {row[0]: row[1] for row in connection.exec_driver_sql(_ONE, (key,))}
        self._own: dict[int, str | None] = {}
        self._later: dict[int, str | None] = {}
        for job_id, (own, later) in _jobs(connection).items():
            self._own[job_id] = own.get(key)
            if key in later:
                self._later[job_id] = later[key]

    def of(self, job_id: int, tag_set_id: int) -> str | None:
        """Return the value that holds for the lines of a job with this set of their own; None: there is none."""
        if job_id in self._later:
            return self._later[job_id]
        value = self._lines.get(tag_set_id)
        return self._own.get(job_id) if value is None else value

    def reach(self, wanted: str) -> Reach:
        """Return the rows for which this value holds: those for which ``of`` returns it."""
        lines = frozenset(tag_set for tag_set, value in self._lines.items() if value == wanted)
        always = frozenset(job_id for job_id, value in self._later.items() if value == wanted)
        return Reach(
            jobs=frozenset(job_id for job_id, value in self._own.items() if value == wanted),
            sets=lines,
            others=frozenset(self._lines) - lines,
            always=always,
            never=frozenset(self._later) - always,
        )


def _jobs(connection: Connection) -> dict[int, tuple[dict[str, Any], dict[str, Any]]]:
    rows = connection.execute(select(jobs.c.id, jobs.c.tags, jobs.c.retagged))
    return {row[0]: (_object(row[1]), _object(row[2])) for row in rows}


def retag(connection: Connection, job_id: int, change: Change, *, lines: bool, now: int) -> None:
    """Change the tags of a job, and with ``lines`` of all its lines too, whatever tags they brought.

    Every change is put on record with its time.
    """
    row = connection.execute(select(jobs.c.tags, jobs.c.retagged).where(jobs.c.id == job_id)).one()
    own, later = _object(row.tags), _object(row.retagged)
    for key, value in change:
        own.pop(key, None)
        if value is not None:
            own[key] = value
        if lines:
            later[key] = value
        elif key in later:
            later[key] = value  # the lines' own was overruled before, and stays so
    values = {"tags": _text(own), "retagged": _text(later)}
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
    told = {"job_id": job_id, "at": now, "change": _text(dict(change)), "lines": int(lines)}
    connection.execute(insert(retags), told)


def _object(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def _text(tags: Mapping[str, str | None]) -> str:
    return json.dumps(tags, ensure_ascii=False, separators=(",", ":"))
