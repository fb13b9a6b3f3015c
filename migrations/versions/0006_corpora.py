"""Corpora: their texts, and vectors."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the three tables; nothing that is there already is a corpus."""
    _create_corpora()
    _create_items()
    op.create_table(
        "vectors",
        *(_column(name, _WHOLE) for name in ("request_id", "first", "attempt_id", "dim", "count", "crc")),
        _column("data", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("request_id", "first", name=op.f("pk_vectors")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_vectors_request_id")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )


def _create_corpora() -> None:
    op.create_table(
        "corpora",
        _column("id", _WHOLE),
        _column("job_id", _WHOLE),
        _column("model", sa.Text()),
        sa.Column("dimensions", _WHOLE, nullable=True),
        _column("normalize", _WHOLE),
        _column("params", sa.LargeBinary()),
        *(_column(name, _WHOLE) for name in ("keep", "version", "texts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_corpora")),
        sa.UniqueConstraint("job_id", name=op.f("uq_corpora_job_id")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_corpora_job_id")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )


def _create_items() -> None:
    notes = " OR ".join(f"note = '{note}'" for note in ("duplicate", "empty", "too_long", "truncated"))
    op.create_table(
        "items",
        *(_column(name, _WHOLE) for name in ("corpus_id", "version", "seq", "part")),
        _column("ext_id", sa.Text()),
        _column("text_hash", sa.LargeBinary()),
        sa.Column("request_id", _WHOLE, nullable=True),
        _column("pos", _WHOLE),
        _column("weight", _WHOLE),
        _column("kept", sa.LargeBinary()),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("corpus_id", "version", "seq", "part", name=op.f("pk_items")),
        sa.CheckConstraint(notes, name=op.f("ck_items_note")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_items_request_id")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("items_request", "items", ["request_id", "pos"])


def downgrade() -> None:
    """Remove them, with all vectors."""
    op.drop_table("vectors")
    op.drop_index("items_request", "items")
    op.drop_table("items")
    op.drop_table("corpora")


def _column(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, autoincrement=False)
