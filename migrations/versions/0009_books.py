"""Tags that are changed afterwards, and views of the books that people's tools read."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

REQUESTS_BEFORE = """CREATE VIEW v_requests AS
SELECT r.id, j.name AS job, r.line, r.custom_id, r.state, r.endpoint, m.provider, m.model,
       CASE WHEN r.state = 'queued' AND r.not_before > 0
            THEN strftime('%Y-%m-%dT%H:%M:%SZ', r.not_before / 1000000, 'unixepoch') END AS not_before,
       r.attempts, r.tries, r.crashes, r.failure
  FROM requests AS r JOIN jobs AS j ON j.id = r.job_id JOIN models AS m ON m.id = r.model_id"""

DAILY_BEFORE = """CREATE VIEW v_costs_daily AS
SELECT date(t.day * 86400, 'unixepoch') AS day, j.name AS job, m.provider, m.model,
       sum(t.n) AS attempts, sum(t.tin) AS input_tokens, sum(t.tout) AS output_tokens,
       round(sum(t.cost) FILTER (WHERE t.billing = 'billed' AND t.use = 'used' AND t.usage_from = 'provider')
             / 1e12, 6) AS recorded_usd,
       round(sum(t.cost) FILTER (WHERE t.billing = 'billed' AND t.use = 'used' AND t.usage_from <> 'provider')
             / 1e12, 6) AS estimated_usd,
       round(sum(t.hold) FILTER (WHERE t.billing = 'unknown') / 1e12, 6) AS possibly_billed_usd,
       round(sum(t.cost) FILTER (WHERE t.billing = 'billed' AND t.use = 'wasted') / 1e12, 6) AS wasted_usd,
       sum(t.unpriced) AS unpriced_attempts
  FROM totals AS t LEFT JOIN jobs AS j ON j.id = t.job_id JOIN models AS m ON m.id = t.model_id
 GROUP BY t.day, t.job_id, t.model_id"""

REQUESTS = """CREATE VIEW v_requests AS
SELECT r.id, j.name AS job, r.line, r.custom_id, r.state, r.endpoint, m.provider, m.model,
       CASE WHEN r.state = 'queued' AND r.not_before > 0
            THEN strftime('%Y-%m-%dT%H:%M:%SZ', r.not_before / 1000000, 'unixepoch') END AS not_before,
       r.attempts, r.tries, r.crashes, r.failure,
       json_patch(json_patch(j.tags, ifnull(s.tags, '{}')), j.retagged) AS tags,
       (SELECT sum(a.cost) FROM attempts AS a WHERE a.request_id = r.id
           AND a.billing = 'billed' AND a.use = 'used' AND a.usage_from = 'provider') AS recorded_pico_usd,
       (SELECT sum(a.cost) FROM attempts AS a WHERE a.request_id = r.id
           AND a.billing = 'billed' AND a.use = 'used' AND a.usage_from <> 'provider') AS estimated_pico_usd,
       (SELECT sum(a.hold) FROM attempts AS a WHERE a.request_id = r.id
           AND a.billing = 'unknown') AS possibly_billed_pico_usd,
       (SELECT sum(a.cost) FROM attempts AS a WHERE a.request_id = r.id
           AND a.billing = 'billed' AND a.use = 'wasted') AS wasted_pico_usd,
       (SELECT count(*) FROM attempts AS a WHERE a.request_id = r.id
           AND ((a.billing = 'billed' AND a.cost IS NULL) OR (a.billing = 'unknown' AND a.hold IS NULL)))
           AS unpriced_attempts
  FROM requests AS r JOIN jobs AS j ON j.id = r.job_id JOIN models AS m ON m.id = r.model_id
  LEFT JOIN tag_sets AS s ON s.id = r.tag_set_id"""

ATTEMPTS = """CREATE VIEW v_attempts AS
SELECT a.id, a.request_id, j.name AS job, r.line, r.custom_id, a.n, m.provider, a.account, m.model, a.echoed_model,
       a.endpoint, a.class AS processing,
       strftime('%Y-%m-%dT%H:%M:%SZ', a.opened / 1000000, 'unixepoch') AS opened,
       strftime('%Y-%m-%dT%H:%M:%SZ', a.ended / 1000000, 'unixepoch') AS ended,
       (a.ended - a.opened) / 1000 AS milliseconds, a.outcome, a.failure, a.status, a.billing, a.use, a.usage_from,
       a.tin AS input_tokens, a.tcached AS cached_tokens, a.tout AS output_tokens, a.treason AS reasoning_tokens,
       u.images, u.pixels, u.milliseconds AS media_milliseconds, u.characters, u.searches,
       a.hold AS hold_pico_usd, a.cost AS cost_pico_usd, round(a.cost / 1e12, 6) AS cost_usd,
       CASE WHEN a.ended IS NULL THEN 'open'
            WHEN a.billing = 'not_billed' THEN 'not billed'
            WHEN a.billing = 'unknown' THEN iif(a.hold IS NULL, 'unpriced', 'possibly billed')
            WHEN a.cost IS NULL THEN 'unpriced'
            WHEN a.use = 'wasted' THEN 'wasted'
            WHEN a.usage_from = 'provider' THEN 'recorded'
            ELSE 'estimated' END AS counts_as,
       json_extract(c.card, '$.model') AS priced_as, json_extract(c.card, '$.source') AS price_source,
       CASE WHEN c.valid_from > 0 THEN date(c.valid_from / 1000000, 'unixepoch') END AS price_from,
       json_patch(json_patch(j.tags, ifnull(s.tags, '{}')), j.retagged) AS tags
  FROM attempts AS a JOIN requests AS r ON r.id = a.request_id JOIN jobs AS j ON j.id = a.job_id
  JOIN models AS m ON m.id = a.model_id LEFT JOIN units AS u ON u.attempt_id = a.id
  LEFT JOIN rates AS c ON c.id = a.rate_id LEFT JOIN tag_sets AS s ON s.id = a.tag_set_id"""

DAILY = """CREATE VIEW v_costs_daily AS
SELECT day, job, provider, model, attempts, input_tokens, cached_tokens, output_tokens,
       recorded_pico_usd, estimated_pico_usd, possibly_billed_pico_usd, wasted_pico_usd,
       round(recorded_pico_usd / 1e12, 6) AS recorded_usd, round(estimated_pico_usd / 1e12, 6) AS estimated_usd,
       round(possibly_billed_pico_usd / 1e12, 6) AS possibly_billed_usd, round(wasted_pico_usd / 1e12, 6) AS wasted_usd,
       unpriced_attempts
  FROM (SELECT date(t.day * 86400, 'unixepoch') AS day, j.name AS job, m.provider, m.model, sum(t.n) AS attempts,
               sum(t.tin) AS input_tokens, sum(t.tcached) AS cached_tokens, sum(t.tout) AS output_tokens,
               sum(t.cost) FILTER (WHERE t.billing = 'billed' AND t.use = 'used' AND t.usage_from = 'provider'
                   AND t.n > t.unpriced) AS recorded_pico_usd,
               sum(t.cost) FILTER (WHERE t.billing = 'billed' AND t.use = 'used' AND t.usage_from <> 'provider'
                   AND t.n > t.unpriced) AS estimated_pico_usd,
               sum(t.hold) FILTER (WHERE t.billing = 'unknown' AND t.n > t.unpriced) AS possibly_billed_pico_usd,
               sum(t.cost) FILTER (WHERE t.billing = 'billed' AND t.use = 'wasted'
                   AND t.n > t.unpriced) AS wasted_pico_usd,
               sum(t.unpriced) AS unpriced_attempts
          FROM totals AS t LEFT JOIN jobs AS j ON j.id = t.job_id LEFT JOIN models AS m ON m.id = t.model_id
         WHERE t.n > 0
         GROUP BY t.day, t.job_id, t.model_id)"""


def upgrade() -> None:
    """Add what ``retag`` writes, and tell of money and tags in the views."""
    op.create_table(
        "retags",
        *(sa.Column(name, _WHOLE, nullable=False) for name in ("id", "job_id", "at")),
        sa.Column("change", sa.Text(), nullable=False),
        sa.Column("lines", _WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retags")),
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.execute("ALTER TABLE jobs ADD COLUMN retagged TEXT DEFAULT '{}' NOT NULL")
    op.execute("DROP VIEW v_requests")
    op.execute("DROP VIEW v_costs_daily")
    for view in (REQUESTS, ATTEMPTS, DAILY):
        op.execute(view)


def downgrade() -> None:
    """Remove them: jobs keep the tags that they were given last, lines have their own again."""
    for view in ("v_requests", "v_attempts", "v_costs_daily"):
        op.execute(f"DROP VIEW {view}")
    op.execute(REQUESTS_BEFORE)
    op.execute(DAILY_BEFORE)
    op.drop_table("retags")
    op.execute("ALTER TABLE jobs DROP COLUMN retagged")
