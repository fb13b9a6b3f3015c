"""Conditions that the writer and the reader share: which jobs, which of their requests."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, case, func, select

from batchrunner.store.base import Selection
from batchrunner.store.columns import Whole
from batchrunner.store.rows import id_list
from batchrunner.store.tables import jobs, requests


def listed(name: str) -> Select[Any]:
    """Select the values of the JSON list that is bound to ``name``."""
    return select(func.json_each(bindparam(name)).table_valued("value").c.value)


CHOSEN = requests.c.id.in_(listed("ids"))
UPTO = requests.c.id <= bindparam("upto")


def told(name: str) -> ColumnElement[int]:
    """Return how much of a unit a request's body tells of; what somebody made of the column may be no JSON."""
    amount = func.json_extract(requests.c.units, f"$.{name}", type_=Whole)
    return case((func.json_valid(requests.c.units) == 1, amount))


def of_jobs(job_ids: Sequence[int] | None) -> ColumnElement[bool]:
    """Return the condition that the job is open, and one of these where some are named."""
    is_open = jobs.c.state == "open"
    return is_open if job_ids is None else is_open & jobs.c.id.in_(list(job_ids))


def selected(selection: Selection) -> tuple[list[ColumnElement[bool]], dict[str, Any]]:
    """Return the conditions of a selection on ``requests``, and their parameters."""
    if selection.ids is not None:
        return [CHOSEN], {"ids": id_list(selection.ids)}
    if selection.upto is not None:
        return [UPTO], {"upto": selection.upto}
    return [], {}
