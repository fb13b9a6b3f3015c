"""The first schema: queue, ledger, rollups, prices, and views for people."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create everything."""
    create_tables()
    for view in VIEWS.values():
        op.execute(view)


def downgrade() -> None:
    """Remove everything, and all data with it."""
    for view in VIEWS:
        op.execute(f"DROP VIEW {view}")
    for name in reversed(TABLES):
        op.drop_table(name)


TABLES: list[str] = [
    "counts",
    "jobs",
    "meta",
    "models",
    "pauses",
    "prices",
    "rates",
    "runners",
    "tag_sets",
    "totals",
    "buckets",
    "requests",
    "attempts",
    "bodies",
    "responses",
    "discards",
]


def table(name: str, *parts: Any, rowid: bool = True) -> None:
    """Create a strict table."""
    op.create_table(name, *parts, sqlite_strict=True, sqlite_with_rowid=rowid)


def _column(name: str, kind: Any, default: str | None, known: bool) -> sa.Column[Any]:
    server_default = None if default is None else sa.text(default)
    return sa.Column(name, kind, nullable=not known, server_default=server_default, autoincrement=name == "id")


def whole(name: str, *, default: str | None = None, known: bool = True) -> sa.Column[Any]:
    """Declare an integer."""
    return _column(name, _WHOLE, default, known)


def words(name: str, *, default: str | None = None, known: bool = True) -> sa.Column[Any]:
    """Declare a text."""
    return _column(name, sa.Text(), default, known)


def raw(name: str, *, known: bool = True) -> sa.Column[Any]:
    """Declare bytes."""
    return _column(name, sa.LargeBinary(), None, known)


def real(name: str, *, known: bool = True) -> sa.Column[Any]:
    """Declare a number with a fraction."""
    return _column(name, sa.REAL(), None, known)


def create_tables() -> None:
    """Create tables and indexes."""
    table(
        "counts",
        whole("job_id"),
        whole("model_id"),
        words("state"),
        whole("n"),
        sa.PrimaryKeyConstraint("job_id", "model_id", "state", name=op.f("pk_counts")),
        sa.CheckConstraint("n >= 0", name=op.f("ck_counts_n")),
        rowid=False,
    )
    table(
        "jobs",
        whole("id"),
        words("key"),
        words("name"),
        words("path"),
        words("sha256"),
        whole("size"),
        whole("mtime_ns"),
        whole("lines"),
        whole("extras", default="0"),
        whole("first_id", known=False),
        whole("last_id", known=False),
        words("state"),
        words("provider"),
        words("options"),
        words("tags"),
        whole("created"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("key", name=op.f("uq_jobs_key")),
        sa.UniqueConstraint("name", name=op.f("uq_jobs_name")),
        sa.CheckConstraint("state = 'loading' OR state = 'open' OR state = 'cancelled'", name=op.f("ck_jobs_state")),
    )
    table("meta", words("key"), words("value"), sa.PrimaryKeyConstraint("key", name=op.f("pk_meta")), rowid=False)
    table(
        "models",
        whole("id"),
        words("provider"),
        words("model"),
        words("learned", known=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint("provider", "model", name=op.f("uq_models_provider_model")),
    )
    table(
        "pauses",
        whole("id"),
        words("scope"),
        words("ref"),
        words("reason"),
        words("evidence"),
        whole("since"),
        whole("until", known=False),
        whole("ended", known=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pauses")),
        sa.CheckConstraint("scope = 'job' OR scope = 'lane' OR scope = 'provider'", name=op.f("ck_pauses_scope")),
    )
    table(
        "prices",
        whole("id"),
        words("names"),
        words("provider"),
        words("meter"),
        words("unit"),
        whole("pico", known=False),
        whole("above_tokens", known=False),
        words("class", default="'live'"),
        words("contract", default="''"),
        whole("valid_from"),
        words("source"),
        whole("retrieved", known=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prices")),
    )
    table(
        "rates",
        whole("id"),
        raw("digest"),
        words("provider"),
        words("model"),
        words("class", default="'live'"),
        whole("valid_from"),
        words("card"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rates")),
        sa.UniqueConstraint("digest", name=op.f("uq_rates_digest")),
    )
    table(
        "runners",
        whole("id"),
        words("host"),
        whole("pid"),
        words("boot_id"),
        words("user"),
        words("version"),
        whole("started"),
        whole("heartbeat"),
        whole("lease_until", known=False),
        whole("ended", known=False),
        words("end_reason", known=False),
        words("snapshot", known=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runners")),
    )
    table(
        "tag_sets",
        whole("id"),
        raw("digest"),
        words("tags"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tag_sets")),
        sa.UniqueConstraint("digest", name=op.f("uq_tag_sets_digest")),
    )
    table(
        "totals",
        whole("day"),
        whole("job_id"),
        whole("model_id"),
        words("endpoint"),
        whole("tag_set_id"),
        whole("rate_id"),
        words("account"),
        words("class"),
        words("billing"),
        words("use"),
        words("usage_from"),
        words("outcome"),
        whole("n"),
        whole("tin"),
        whole("tcached"),
        whole("tout"),
        whole("treason"),
        whole("cost"),
        whole("hold"),
        whole("unpriced"),
        sa.PrimaryKeyConstraint(
            "day",
            "job_id",
            "model_id",
            "endpoint",
            "tag_set_id",
            "rate_id",
            "account",
            "class",
            "billing",
            "use",
            "usage_from",
            "outcome",
            name=op.f("pk_totals"),
        ),
        sa.CheckConstraint("n >= 0", name=op.f("ck_totals_n")),
        rowid=False,
    )
    table(
        "buckets",
        whole("model_id"),
        words("kind"),
        real("level"),
        whole("at"),
        whole("paused_until"),
        sa.PrimaryKeyConstraint("model_id", "kind", name=op.f("pk_buckets")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_buckets_model_id")),
        rowid=False,
    )
    table(
        "requests",
        whole("id"),
        whole("job_id"),
        whole("line"),
        words("custom_id"),
        raw("digest"),
        words("endpoint"),
        whole("model_id"),
        whole("tag_set_id", known=False),
        words("state", default="'queued'"),
        whole("not_before", default="0"),
        whole("priority", default="0"),
        whole("tries", default="0"),
        whole("crashes", default="0"),
        whole("attempts", default="0"),
        whole("est_in"),
        whole("max_out", known=False),
        whole("runner_id", known=False),
        whole("duplicate_of", known=False),
        whole("parent_id", known=False),
        whole("attempt_id", known=False),
        words("failure", known=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requests")),
        sa.UniqueConstraint("job_id", "custom_id", name=op.f("uq_requests_job_id_custom_id")),
        sa.CheckConstraint(
            "state = 'queued' OR state = 'running' OR state = 'succeeded' OR state = 'failed'"
            " OR state = 'cancelled' OR state = 'quarantined'",
            name=op.f("ck_requests_state"),
        ),
        sa.CheckConstraint("not_before >= 0", name=op.f("ck_requests_not_before")),
        sa.CheckConstraint("state <> 'failed' OR failure IS NOT NULL", name=op.f("ck_requests_failure")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_requests_job_id")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_requests_model_id")),
    )
    op.create_index(
        "requests_due",
        "requests",
        ["model_id", "not_before", "job_id"],
        sqlite_where=sa.text("state = 'queued' AND not_before > 0"),
    )
    op.create_index("requests_failed", "requests", ["job_id", "failure"], sqlite_where=sa.text("state = 'failed'"))
    op.create_index(
        "requests_ready",
        "requests",
        ["job_id", "model_id", "priority", "id"],
        sqlite_where=sa.text("state = 'queued' AND not_before = 0"),
    )
    table(
        "attempts",
        whole("id"),
        whole("request_id"),
        whole("n"),
        whole("runner_id"),
        whole("job_id"),
        whole("model_id"),
        whole("tag_set_id", known=False),
        words("endpoint"),
        words("account"),
        words("class"),
        whole("opened"),
        whole("ended", known=False),
        whole("due_at", known=False),
        raw("continuation", known=False),
        whole("submission_id", known=False),
        words("outcome", known=False),
        words("failure", known=False),
        whole("status", known=False),
        words("provider_request_id", known=False),
        words("echoed_model", known=False),
        words("billing", known=False),
        words("use", known=False),
        words("usage_from", known=False),
        whole("tin", known=False),
        whole("tcached", known=False),
        whole("tout", known=False),
        whole("treason", known=False),
        words("other_meters", known=False),
        raw("usage_raw", known=False),
        whole("rate_id", known=False),
        whole("hold", known=False),
        whole("cost", known=False),
        whole("ttfb", known=False),
        raw("sent_digest", known=False),
        words("patch", known=False),
        words("error", known=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.CheckConstraint("class = 'live' OR class = 'batch'", name=op.f("ck_attempts_class")),
        sa.CheckConstraint(
            "outcome = 'reply' OR outcome = 'failure' OR outcome = 'lost'", name=op.f("ck_attempts_outcome")
        ),
        sa.CheckConstraint(
            "billing = 'billed' OR billing = 'not_billed' OR billing = 'unknown'", name=op.f("ck_attempts_billing")
        ),
        sa.CheckConstraint("use = 'used' OR use = 'wasted'", name=op.f("ck_attempts_use")),
        sa.CheckConstraint(
            "usage_from = 'provider' OR usage_from = 'estimated' OR usage_from = 'none'",
            name=op.f("ck_attempts_usage_from"),
        ),
        sa.CheckConstraint(
            "ended IS NULL OR (outcome IS NOT NULL AND billing IS NOT NULL"
            " AND use IS NOT NULL AND usage_from IS NOT NULL)",
            name=op.f("ck_attempts_closed"),
        ),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_attempts_request_id")),
    )
    op.create_index("attempts_open", "attempts", ["runner_id"], sqlite_where=sa.text("ended IS NULL"))
    op.create_index("attempts_request", "attempts", ["request_id"])
    table(
        "bodies",
        whole("request_id"),
        whole("codec", default="0"),
        raw("extras", known=False),
        raw("data"),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_bodies")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_bodies_request_id")),
    )
    table(
        "responses",
        whole("request_id"),
        whole("attempt_id"),
        whole("crc"),
        whole("codec", default="0"),
        raw("body"),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_responses")),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name=op.f("fk_responses_request_id")),
    )
    table(
        "discards",
        whole("attempt_id"),
        whole("crc"),
        whole("codec", default="0"),
        raw("body"),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_discards")),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_discards_attempt_id")),
    )


VIEWS = {
    "v_requests": """CREATE VIEW v_requests AS
SELECT r.id, j.name AS job, r.line, r.custom_id, r.state, r.endpoint, m.provider, m.model,
       CASE WHEN r.state = 'queued' AND r.not_before > 0
            THEN strftime('%Y-%m-%dT%H:%M:%SZ', r.not_before / 1000000, 'unixepoch') END AS not_before,
       r.attempts, r.tries, r.crashes, r.failure
  FROM requests AS r JOIN jobs AS j ON j.id = r.job_id JOIN models AS m ON m.id = r.model_id""",
    "v_results": """CREATE VIEW v_results AS
SELECT r.id, j.name AS job, r.line, r.custom_id, r.state, m.provider, m.model, a.status, r.failure, a.error,
       CAST(p.body AS TEXT) AS body, a.tin AS input_tokens, a.tout AS output_tokens, a.usage_from,
       a.cost AS cost_pico_usd, round(a.cost / 1e12, 6) AS cost_usd,
       strftime('%Y-%m-%dT%H:%M:%SZ', a.opened / 1000000, 'unixepoch') AS opened,
       (a.ended - a.opened) / 1000 AS milliseconds
  FROM requests AS r JOIN jobs AS j ON j.id = r.job_id JOIN models AS m ON m.id = r.model_id
  LEFT JOIN attempts AS a ON a.id = r.attempt_id
  LEFT JOIN responses AS p ON p.request_id = r.id""",
    "v_costs_daily": """CREATE VIEW v_costs_daily AS
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
 GROUP BY t.day, t.job_id, t.model_id""",
}
