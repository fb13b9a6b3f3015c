"""Attempts that go on later, and the files that answers brought."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the two tables."""
    op.create_table(
        "artifacts",
        _column("request_id", _WHOLE),
        _column("n", _WHOLE),
        _column("attempt_id", _WHOLE),
        _column("place", sa.Text()),
        _column("sha256", sa.Text()),
        _column("type", sa.Text()),
        _column("size", _WHOLE),
        _column("name", sa.Text()),
        sa.PrimaryKeyConstraint("request_id", "n", name=op.f("pk_artifacts")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_artifacts_request_id")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "continuations",
        _column("request_id", _WHOLE),
        _column("attempt_id", _WHOLE),
        _column("step", sa.Text()),
        _column("target", sa.Text()),
        _column("content_type", sa.Text()),
        sa.Column("provider_request_id", sa.Text(), nullable=True),
        _column("since", _WHOLE),
        _column("steps", _WHOLE),
        _column("misses", _WHOLE),
        _column("kept", sa.Text()),
        _column("body", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_continuations")),
        sa.CheckConstraint("step = 'poll' OR step = 'fetch'", name=op.f("ck_continuations_step")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_continuations_request_id")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )


def downgrade() -> None:
    """Remove them: what waits for a job of the provider is forgotten, and the list of files."""
    op.drop_table("continuations")
    op.drop_table("artifacts")


def _column(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, autoincrement=False)
