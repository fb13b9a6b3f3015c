"""Streamed answers: the time to the first token, and what is left of one that broke off."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; what was written before was not streamed."""
    op.execute("ALTER TABLE attempts ADD COLUMN ttft INTEGER")
    op.execute("ALTER TABLE discards ADD COLUMN partial INTEGER DEFAULT 0 NOT NULL")


def downgrade() -> None:
    """Remove the columns, and what they say."""
    op.execute("ALTER TABLE discards DROP COLUMN partial")
    op.execute("ALTER TABLE attempts DROP COLUMN ttft")
