"""Flags of answers, and bodies to ask again with."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ADDED = {"attempts": ("flags TEXT",)} | {
    "bodies": ("again BLOB", "repairs INTEGER DEFAULT 0 NOT NULL", "raises INTEGER DEFAULT 0 NOT NULL")
}


def upgrade() -> None:
    """Add the columns; what is there already has no flags and was never asked again."""
    for table, columns in ADDED.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
    op.execute(
        "CREATE INDEX attempts_flagged ON attempts (job_id, request_id) WHERE flags IS NOT NULL AND use = 'used'"
    )


def downgrade() -> None:
    """Remove them, with what they say."""
    op.drop_index("attempts_flagged")
    for table, columns in ADDED.items():
        for column in reversed(columns):
            op.execute(f"ALTER TABLE {table} DROP COLUMN {column.split()[0]}")
