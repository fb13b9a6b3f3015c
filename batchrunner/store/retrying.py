"""Requests that failed, queued again because a person asked for it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, or_, select, text, update

from batchrunner.store.corpustables import corpora, items
from batchrunner.store.rollups import move_counts
from batchrunner.store.rows import text_list
from batchrunner.store.selecting import listed
from batchrunner.store.tables import bodies, requests


def retry(connection: Connection, job_id: int, state: str, kinds: Sequence[str], names: Sequence[str], now: int) -> int:
    """Queue the requests of a job that are in a state again; return how many.

    Their tries and what spoke against them is forgotten, their attempts are kept. ``kinds`` of failures and ``names``
    (of requests, or of texts in packs) narrow it down; with both, a request must match both.
    """
    settled = func.coalesce(requests.c.copy_of, requests.c.id)  # a copy's original has its state and failure
    failed = select(settled).where(requests.c.job_id == job_id, text(f"state = '{state}'"))
    values: dict[str, Any] = {}
    if kinds:
        failed = failed.where(requests.c.failure.in_(kinds))
    if names:
        in_packs = select(items.c.request_id).join(corpora, corpora.c.id == items.c.corpus_id)
        in_packs = in_packs.where(corpora.c.job_id == job_id, items.c.ext_id.in_(listed("texts")))
        failed = failed.where(or_(requests.c.custom_id.in_(listed("texts")), requests.c.id.in_(in_packs)))
        values["texts"] = text_list(names)
    per_lane = select(requests.c.model_id, func.count()).where(requests.c.id.in_(failed))
    moved = connection.execute(per_lane.group_by(requests.c.model_id), values).all()
    again = update(bodies).where(bodies.c.again.is_not(None), bodies.c.request_id.in_(failed))
    connection.execute(again.values(again=None, repairs=0, raises=0), values)
    queue = update(requests).where(requests.c.id.in_(failed))
    queue = queue.values(state="queued", not_before=max(1, now), tries=0, crashes=0, failure=None, attempt_id=None)
    connection.execute(queue, values)
    return move_counts(connection, ((job_id, lane_id, state, "queued", n) for lane_id, n in moved))
