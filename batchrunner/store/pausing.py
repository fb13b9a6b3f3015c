"""Pauses that a person set: they hold rows back in every run until the person ends them."""

from collections.abc import Callable

from sqlalchemy import Connection, select

from batchrunner.store.base import BY_HAND, Pause
from batchrunner.store.tables import pauses

Held = Callable[[int, str, str], bool]
"""Whether the rows of this job, provider and model are held back."""

_STANDING = select(*(pauses.c[name] for name in Pause._fields)).where(pauses.c.ended.is_(None)).order_by(pauses.c.id)


def standing(connection: Connection) -> list[Pause]:
    """Return the pauses that have not ended, oldest first."""
    return [Pause._make(row) for row in connection.execute(_STANDING)]


def held(connection: Connection) -> Held:
    """Return what tells which rows a person holds back now."""
    found = {(pause.scope, pause.ref) for pause in standing(connection) if pause.reason == BY_HAND}
    return lambda job_id, provider, model: (
        not found.isdisjoint((("job", str(job_id)), ("provider", provider), ("lane", f"{provider} {model}")))
    )
