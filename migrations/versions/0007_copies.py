"""Copies: requests that are not sent, as an earlier one of their job has the same body."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

BEFORE = """CREATE VIEW v_results AS
SELECT r.id, j.name AS job, r.line, r.custom_id, r.state, m.provider, m.model, a.status, r.failure, a.error,
       CAST(p.body AS TEXT) AS body, a.tin AS input_tokens, a.tout AS output_tokens, a.usage_from,
       a.cost AS cost_pico_usd, round(a.cost / 1e12, 6) AS cost_usd,
       strftime('%Y-%m-%dT%H:%M:%SZ', a.opened / 1000000, 'unixepoch') AS opened,
       (a.ended - a.opened) / 1000 AS milliseconds
  FROM requests AS r JOIN jobs AS j ON j.id = r.job_id JOIN models AS m ON m.id = r.model_id
  LEFT JOIN attempts AS a ON a.id = r.attempt_id
  LEFT JOIN responses AS p ON p.request_id = r.id"""

AFTER = """CREATE VIEW v_results AS
SELECT r.id, j.name AS job, r.line, r.custom_id, r.state, m.provider, m.model, s.status, r.failure, s.error,
       CAST(p.body AS TEXT) AS body, a.tin AS input_tokens, a.tout AS output_tokens, a.usage_from,
       a.cost AS cost_pico_usd, round(a.cost / 1e12, 6) AS cost_usd,
       strftime('%Y-%m-%dT%H:%M:%SZ', a.opened / 1000000, 'unixepoch') AS opened,
       (a.ended - a.opened) / 1000 AS milliseconds, o.custom_id AS copy_of
  FROM requests AS r JOIN jobs AS j ON j.id = r.job_id JOIN models AS m ON m.id = r.model_id
  LEFT JOIN requests AS o ON o.id = r.copy_of
  LEFT JOIN attempts AS s ON s.id = r.attempt_id
  LEFT JOIN attempts AS a ON a.id = r.attempt_id AND a.request_id = r.id
  LEFT JOIN responses AS p ON p.request_id = coalesce(r.copy_of, r.id)"""


def upgrade() -> None:
    """Add the column, the index of the few rows that have it, and the answers of copies to the view of results."""
    op.execute("ALTER TABLE requests ADD COLUMN copy_of INTEGER")
    op.execute("CREATE INDEX requests_copies ON requests (copy_of) WHERE copy_of IS NOT NULL")
    op.execute("DROP VIEW v_results")
    op.execute(AFTER)


def downgrade() -> None:
    """Remove them: copies would wait to be sent."""
    op.execute("DROP VIEW v_results")
    op.execute(BEFORE)
    op.drop_index("requests_copies")
    op.execute("ALTER TABLE requests DROP COLUMN copy_of")
