"""What the vectors of an opened pack must be like."""

import sqlite3
from collections.abc import Sequence

from batchrunner.core.corpus import Asked
from batchrunner.core.request import Opened
from batchrunner.store.rows import id_list

_ASKED = """SELECT c.job_id, c.dimensions, c.normalize FROM json_each(?) AS j
 CROSS JOIN corpora AS c ON c.job_id = j.value"""


def with_what_is_asked(
    cursor: sqlite3.Cursor, opened: list[Opened], places: Sequence[int], jobs: Sequence[int]
) -> list[Opened]:
    """Put in what is asked for the packs among these attempts: they are at ``places``, and of ``jobs``."""
    asked = {
        job_id: Asked(dimensions, normalize == 1)
        for job_id, dimensions, normalize in cursor.execute(_ASKED, (id_list(list(set(jobs))),))
    }
    for place, job_id in zip(places, jobs, strict=True):
        opened[place] = opened[place]._replace(pack=asked[job_id])
    return opened
