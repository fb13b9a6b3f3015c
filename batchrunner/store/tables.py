"""Every table of the database, as the newest migration leaves it.

Rules of the house: times are integer microseconds UTC, money is integer pico-dollars, unknown is NULL and never zero.
Key columns of the rollups hold 0 or ``''`` where the fact is absent, because an upsert needs keys that compare equal.
A foreign key is declared only where its child column leads an index, so that no deletion ever scans a table.
``requests`` is narrow and changes often; the fat bytes live in ``bodies`` and ``responses``, which are written once.
"""

from sqlalchemy import REAL, CheckConstraint, Column, ForeignKey, Index, LargeBinary, Text, UniqueConstraint, text

import batchrunner.store.corpustables
import batchrunner.store.moneytables  # noqa: F401 - their tables are of this schema, too
from batchrunner.core.usage import OTHERS
from batchrunner.store.columns import (
    Whole,
    added,
    added_index,
    among,
    key,
    maybe_whole,
    maybe_words,
    part,
    table,
    whole,
    words,
)  # fmt: skip

STATES = ("queued", "running", "succeeded", "failed", "cancelled", "quarantined")

meta = table("meta", Column("key", Text, primary_key=True, nullable=False), words("value"), rowid=False)

runners = table(
    "runners",
    key(),
    words("host"),
    whole("pid"),
    words("boot_id"),
    words("user"),
    words("version"),
    whole("started"),
    whole("heartbeat"),
    maybe_whole("lease_until"),  # several runners on one database server: a lease lives here, never on a request
    maybe_whole("ended"),
    maybe_words("end_reason"),
    maybe_words("snapshot"),
)

jobs = table(
    "jobs",
    key(),
    words("key"),
    words("name"),
    words("path"),
    words("sha256"),
    whole("size"),
    whole("mtime_ns"),
    whole("lines"),
    whole("extras", default=0),  # lines that carry metadata or unknown keys: 0 saves every export a join
    maybe_whole("first_id"),  # the ids of its requests lie in this range
    maybe_whole("last_id"),
    words("state"),
    words("provider"),
    words("options"),
    words("tags"),
    whole("created"),
    UniqueConstraint("key"),
    UniqueConstraint("name"),
    among("state", "loading", "open", "cancelled"),
)

models = table(
    "models", key(), words("provider"), words("model"), maybe_words("learned"), UniqueConstraint("provider", "model")
)

buckets = table(
    "buckets",
    Column("model_id", Whole, ForeignKey(models.c.id), primary_key=True, nullable=False, autoincrement=False),
    part("kind", Text),
    Column("level", REAL, nullable=False),
    whole("at"),
    whole("paused_until"),
    rowid=False,
)

tag_sets = table(
    "tag_sets", key(), Column("digest", LargeBinary, nullable=False), words("tags"), UniqueConstraint("digest")
)

pauses = table(
    "pauses",
    key(),
    words("scope"),
    words("ref"),
    words("reason"),
    words("evidence"),
    whole("since"),
    maybe_whole("until"),
    maybe_whole("ended"),
    among("scope", "job", "lane", "provider"),
)

requests = table(
    "requests",
    key(),  # ascends with the input order of its job
    whole("job_id", ForeignKey(jobs.c.id)),
    whole("line"),
    words("custom_id"),
    Column("digest", LargeBinary, nullable=False),
    words("endpoint"),
    whole("model_id", ForeignKey(models.c.id)),
    maybe_whole("tag_set_id"),
    words("state", default="queued"),
    whole("not_before", default=0),  # 0: fresh. What waits, or is given back, has a time
    whole("priority", default=0),  # negated: ascending order serves the highest first
    whole("tries", default=0),
    whole("crashes", default=0),
    whole("attempts", default=0),
    whole("est_in"),
    maybe_whole("max_out"),
    maybe_whole("runner_id"),
    maybe_whole("duplicate_of"),
    maybe_whole("parent_id"),
    maybe_whole("attempt_id"),  # the attempt that settled it
    maybe_words("failure"),
    added(maybe_words("units")),  # what its body tells of other units than tokens, as JSON
    added(maybe_whole("copy_of")),  # the earlier request of its job that is sent for both
    UniqueConstraint("job_id", "custom_id"),
    among("state", *STATES),
    CheckConstraint("not_before >= 0", name="not_before"),
    CheckConstraint("state <> 'failed' OR failure IS NOT NULL", name="failure"),
)
Index(
    "requests_ready",
    requests.c.job_id,
    requests.c.model_id,
    requests.c.priority,
    requests.c.id,
    sqlite_where=text("state = 'queued' AND not_before = 0"),
)
Index(
    "requests_due",
    requests.c.model_id,
    requests.c.not_before,
    requests.c.job_id,  # so that what waits is counted and filtered by job inside the index
    sqlite_where=text("state = 'queued' AND not_before > 0"),
)
Index("requests_failed", requests.c.job_id, requests.c.failure, sqlite_where=text("state = 'failed'"))
added_index(Index("requests_copies", requests.c.copy_of, sqlite_where=text("copy_of IS NOT NULL")))

bodies = table(
    "bodies",
    Column("request_id", Whole, ForeignKey(requests.c.id), primary_key=True, nullable=False),
    whole("codec", default=0),
    Column("extras", LargeBinary),  # before the body, so that reading it never walks a long body's overflow pages
    Column("data", LargeBinary, nullable=False),
    added(Column("again", LargeBinary)),  # sent in place of ``data``, since an answer was not what had been asked for
    added(whole("repairs", default=0)),
    added(whole("raises", default=0)),
)

attempts = table(
    "attempts",
    key(),
    whole("request_id", ForeignKey(requests.c.id)),
    whole("n"),
    whole("runner_id"),
    whole("job_id"),
    whole("model_id"),
    maybe_whole("tag_set_id"),
    words("endpoint"),
    words("account"),
    words("class"),
    whole("opened"),
    maybe_whole("ended"),
    maybe_whole("due_at"),
    Column("continuation", LargeBinary),
    maybe_whole("submission_id"),
    maybe_words("outcome"),
    maybe_words("failure"),
    maybe_whole("status"),
    maybe_words("provider_request_id"),
    maybe_words("echoed_model"),
    maybe_words("billing"),
    maybe_words("use"),
    maybe_words("usage_from"),
    maybe_whole("tin"),
    maybe_whole("tcached"),
    maybe_whole("tout"),
    maybe_whole("treason"),
    maybe_words("other_meters"),
    Column("usage_raw", LargeBinary),
    maybe_whole("rate_id"),
    maybe_whole("hold"),
    maybe_whole("cost"),
    maybe_whole("ttfb"),  # microseconds
    Column("sent_digest", LargeBinary),
    maybe_words("patch"),
    maybe_words("error"),
    added(maybe_whole("ttft")),  # microseconds to the first token of a streamed answer
    added(maybe_words("flags")),  # a JSON list; NULL where there is nothing to say
    among("class", "live", "batch"),
    among("outcome", "reply", "failure", "lost"),
    among("billing", "billed", "not_billed", "unknown"),
    among("use", "used", "wasted"),
    among("usage_from", "provider", "estimated", "none"),
    CheckConstraint(
        "ended IS NULL OR (outcome IS NOT NULL AND billing IS NOT NULL AND use IS NOT NULL AND usage_from IS NOT NULL)",
        name="closed",
    ),
)
Index("attempts_open", attempts.c.runner_id, sqlite_where=text("ended IS NULL"))
Index("attempts_request", attempts.c.request_id)
added_index(
    Index(
        "attempts_flagged",
        attempts.c.job_id,
        attempts.c.request_id,
        sqlite_where=text("flags IS NOT NULL AND use = 'used'"),
    )
)

units = table(
    "units",  # what an attempt used beside plain tokens; most have no row here, and pay nothing for those that do
    Column("attempt_id", Whole, ForeignKey(attempts.c.id), primary_key=True, nullable=False),
    *(whole(name) for name in OTHERS),
    maybe_whole("stated_cost"),  # pico-dollars that the provider itself named
)

responses = table(
    "responses",  # the key is the promise: the first complete answer wins
    Column("request_id", Whole, ForeignKey(requests.c.id), primary_key=True, nullable=False),
    whole("attempt_id"),
    whole("crc"),
    whole("codec", default=0),
    Column("body", LargeBinary, nullable=False),
)

continuations = table(
    "continuations",  # of attempts that are open, and go on without buying again
    Column("request_id", Whole, ForeignKey(requests.c.id), primary_key=True, nullable=False, autoincrement=False),
    whole("attempt_id"),
    words("step"),
    words("target"),
    words("content_type"),
    maybe_words("provider_request_id"),
    whole("since"),
    whole("steps"),
    whole("misses"),
    words("kept"),  # files that are there already, as JSON
    Column("body", LargeBinary, nullable=False),
    among("step", "poll", "fetch"),
)

artifacts = table(
    "artifacts",  # what answers brought as files; the bytes are in a folder beside the database
    Column("request_id", Whole, ForeignKey(requests.c.id), primary_key=True, nullable=False, autoincrement=False),
    part("n"),
    whole("attempt_id"),
    words("place"),
    words("sha256"),
    words("type"),
    whole("size"),
    words("name"),
    rowid=False,
)

discards = table(
    "discards",
    Column("attempt_id", Whole, ForeignKey(attempts.c.id), primary_key=True, nullable=False),
    whole("crc"),
    whole("codec", default=0),
    Column("body", LargeBinary, nullable=False),
    added(whole("partial", default=0)),  # 1: what had come of a streamed answer that broke off
)
