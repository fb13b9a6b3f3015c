"""Other units than tokens: what a body tells of them, what an attempt used of them, and their sums."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UNITS = (
    *("images", "pixels", "milliseconds", "characters", "searches", "pixel_steps"),
    *("audio_input", "audio_output", "image_input", "image_output"),
)
_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add columns and a table. Attempts that are there used tokens only, as far as anybody wrote down."""
    op.execute("ALTER TABLE requests ADD COLUMN units TEXT")
    for name in UNITS:
        op.execute(f"ALTER TABLE totals ADD COLUMN {name} INTEGER DEFAULT 0 NOT NULL")
    op.create_table(
        "units",
        sa.Column("attempt_id", _WHOLE, nullable=False, autoincrement=False),
        *(sa.Column(name, _WHOLE, nullable=False) for name in UNITS),
        sa.Column("stated_cost", _WHOLE),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_units")),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_units_attempt_id")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )


def downgrade() -> None:
    """Drop them, and with them what was counted in these units; what it cost stays."""
    op.drop_table("units")
    for name in reversed(UNITS):
        op.execute(f"ALTER TABLE totals DROP COLUMN {name}")
    op.execute("ALTER TABLE requests DROP COLUMN units")
