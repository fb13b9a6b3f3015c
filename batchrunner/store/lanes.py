"""Lanes by what they are: a provider and a model."""

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from batchrunner.store.tables import models


def lane_of(connection: Connection, provider: str, model: str) -> int:
    """Return the id of a lane, which is made if it is not there."""
    connection.execute(insert(models).on_conflict_do_nothing(), {"provider": provider, "model": model})
    lane = select(models.c.id).where(models.c.provider == provider, models.c.model == model)
    lane_id: int = connection.execute(lane).scalar_one()
    return lane_id
