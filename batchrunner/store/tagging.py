"""Whose an attempt is: the tags of its line over those of its job, and over both what ``retag`` said afterwards.

An attempt keeps the tags that its line was loaded with. What is said of them later is kept with the job and looked at
when somebody asks, so that no number of rows makes it slow, and nothing that was written down is written anew.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from batchrunner.store.moneytables import retags
from batchrunner.store.tables import jobs, tag_sets

Change = Sequence[tuple[str, str | None]]
"""Tags to set; None: to take away."""


class TagsOf:
    """Looks tags up, each set once."""

    def __init__(self, connection: Connection) -> None:
        rows = connection.execute(select(jobs.c.id, jobs.c.tags, jobs.c.retagged))
        self._jobs = {row[0]: (_object(row[1]), _object(row[2])) for row in rows}
        sets = connection.execute(select(tag_sets.c.id, tag_sets.c.tags))
        self._lines = {row[0]: _object(row[1]) for row in sets}
        self._known: dict[tuple[int, int], dict[str, str]] = {}

    def of(self, job_id: int, tag_set_id: int) -> Mapping[str, str]:
        """Return the tags that hold for the lines of a job with this set of their own; 0: with none."""
        found = self._known.get((job_id, tag_set_id))
        if found is None:
            own, later = self._jobs.get(job_id, ({}, {}))
            merged = own | self._lines.get(tag_set_id, {}) | later
            found = self._known[job_id, tag_set_id] = {key: value for key, value in merged.items() if value is not None}
        return found


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
