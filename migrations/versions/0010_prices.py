"""Prices of the database: which rows are one entry, discounts, and the steps that a megapixel's price pays for."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ADDED = ("entry INTEGER DEFAULT 0 NOT NULL", "discount INTEGER", "steps INTEGER")


def upgrade() -> None:
    """Add the columns; nothing has written into the table before."""
    for column in ADDED:
        op.execute(f"ALTER TABLE prices ADD COLUMN {column}")


def downgrade() -> None:
    """Remove them, with the prices, which would say something else without them."""
    op.execute("DELETE FROM prices")
    for column in reversed(ADDED):
        op.execute(f"ALTER TABLE prices DROP COLUMN {column.split()[0]}")
