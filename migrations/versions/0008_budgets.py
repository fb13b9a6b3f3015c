"""Budgets: caps on money for everything, a job or a tag, for good, a day or a month."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table; nothing that is there already is capped."""
    op.create_table(
        "budgets",
        _column("id", _WHOLE),
        *(_column(name, sa.Text()) for name in ("scope", "ref", "period")),
        _column("cap", _WHOLE),
        _column("warn", sa.Text()),
        _column("changed", _WHOLE),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budgets")),
        sa.UniqueConstraint("scope", "ref", "period", name=op.f("uq_budgets_scope_ref_period")),
        sa.CheckConstraint("scope = 'all' OR scope = 'job' OR scope = 'tag'", name=op.f("ck_budgets_scope")),
        sa.CheckConstraint("period = 'ever' OR period = 'day' OR period = 'month'", name=op.f("ck_budgets_period")),
        sa.CheckConstraint("cap >= 0", name=op.f("ck_budgets_cap")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )


def downgrade() -> None:
    """Remove it, with all caps: nothing holds spending back any more."""
    op.drop_table("budgets")


def _column(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)
