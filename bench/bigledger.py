"""Makes a large ledger straight in a database, through the store's own schema: a month of calls that nobody made.

The days, the models and how calls fare are made up, by seeded dice; prices are the program's own. The rollups are
counted from the attempts by the very statement that `db check` recounts them with.
"""

import argparse
import hashlib
import json
import random
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from batchrunner.core.job import JobOptions, JobSource
from batchrunner.core.pricing import RateCard
from batchrunner.core.usage import Usage
from batchrunner.formats.pricefile import load_prices
from batchrunner.store.database import open_store
from batchrunner.store.moneytables import TOTALS_KEY, TOTALS_SUMS
from batchrunner.store.rollups import RECOUNT_COUNTS, RECOUNT_TOTALS

FIRST = round(datetime(2026, 10, 16, tzinfo=UTC).timestamp() * 1e6)
HOUR = 3_600_000_000
CHAT, EMBED = "/v1/chat/completions", "/v1/embeddings"


class Model(NamedTuple):
    """A model, and how calls to it fare."""

    name: str
    share: float
    tin: int
    tout: int
    seconds: float
    cached: float = 0.0
    reasoning: float = 0.0
    endpoint: str = CHAT


MODELS = (
    Model("meta-llama/Llama-3.3-70B-Instruct-Turbo", 0.24, 1_900, 340, 3.1, 0.35),
    Model("deepseek-ai/DeepSeek-V3", 0.14, 2_400, 610, 7.8, 0.5),
    Model("deepseek-ai/DeepSeek-R1", 0.07, 1_300, 2_900, 34.0, 0.1, 0.7),
    Model("Qwen/Qwen2.5-72B-Instruct-Turbo", 0.11, 1_500, 420, 4.4, 0.2),
    Model("openai/gpt-oss-120b", 0.10, 1_100, 700, 5.2, 0.0, 0.4),
    Model("openai/gpt-oss-20b", 0.08, 900, 260, 1.7, 0.0, 0.3),
    Model("zai-org/GLM-5.2", 0.05, 3_200, 520, 9.6, 0.4),
    Model("MiniMaxAI/MiniMax-M3", 0.05, 1_700, 300, 2.4),
    Model("meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo", 0.04, 800, 210, 1.3),
    Model("BAAI/bge-base-en-v1.5", 0.08, 410, 0, 0.3, endpoint=EMBED),
    Model("Qwen/QwQ-32B", 0.025, 700, 180, 0.9),
    Model("acme/a-model-of-our-own", 0.015, 600, 150, 1.1),
)
"""The last has no price; the one of embeddings sends no usage."""
JOBS = (
    ("search-relevance", {"team": "search", "env": "prod"}),
    ("ticket-triage", {"team": "support", "env": "prod"}),
    ("review-summaries", {"team": "catalogue", "env": "prod"}),
    ("prompt-experiments", {"team": "search", "env": "dev"}),
    ("nightly-embeddings", {"team": "search"}),
    ("translations", {"team": "catalogue", "env": "prod", "customer": "northwind"}),
    ("one-off-cleanup", {}),
)


def make(path: Path, *, rows: int = 100_000, days: int = 30, models: int = 12, seed: int = 7) -> int:
    """Make a database of so many requests and return how many calls they took."""
    dice = random.Random(seed)
    with open_store(path) as store:
        for name, tags in JOBS:
            source = JobSource(path=f"/data/{name}.jsonl", sha256="ab" * 32, size=rows, mtime_ns=0)
            job = store.create_job(
                key=f"key of {name}", name=name, source=source, options=JobOptions(provider="together"),
                tags=tuple(tags.items()), now=FIRST,
            )  # fmt: skip
            store.seal(job.id, job.source, job.key)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript("PRAGMA synchronous = OFF; BEGIN")
        lanes = _lanes(db, MODELS[:models])
        tag_sets = _tag_sets(db)
        calls = 0
        for request_id in range(1, rows + 1):
            calls += _request(db, dice, request_id, lanes, tag_sets, days)
        db.execute(f"INSERT INTO totals ({', '.join((*TOTALS_KEY, *TOTALS_SUMS))}) {RECOUNT_TOTALS}")
        db.execute(f"INSERT INTO counts (job_id, model_id, state, n) {RECOUNT_COUNTS}")
        db.execute("COMMIT")
    return calls


Lane = tuple[int, Model, RateCard | None, int | None]


def _lanes(db: sqlite3.Connection, models: tuple[Model, ...]) -> list[Lane]:
    """Write the models and what they cost."""
    book, lanes = load_prices(()), list[Lane]()
    for lane_id, model in enumerate(models, 1):
        db.execute("INSERT INTO models (id, provider, model) VALUES (?, 'together', ?)", (lane_id, model.name))
        card = book.card("together", model.name, FIRST + 40 * 24 * HOUR)
        rate_id = None
        if card is not None:
            values = (card.digest(), card.provider, card.model, card.valid_from, msgspec.json.encode(card).decode())
            rate_id = db.execute(
                "INSERT INTO rates (digest, provider, model, valid_from, card) VALUES (?, ?, ?, ?, ?)", values
            ).lastrowid
        lanes.append((lane_id, model, card, rate_id))
    return lanes


def _tag_sets(db: sqlite3.Connection) -> list[int | None]:
    """Write a few sets of tags that lines bring themselves; most lines bring none."""
    ids: list[int | None] = [None] * 6
    for customer in ("northwind", "contoso", "fabrikam"):
        tags = json.dumps({"customer": customer}, separators=(",", ":"))
        digest = hashlib.sha256(tags.encode()).digest()[:16]
        ids.append(db.execute("INSERT INTO tag_sets (digest, tags) VALUES (?, ?)", (digest, tags)).lastrowid)
    return ids


_REQUEST = """INSERT INTO requests (id, job_id, line, custom_id, digest, endpoint, model_id, tag_set_id, state, tries,
 attempts, est_in, max_out, attempt_id, failure) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_ATTEMPT = """INSERT INTO attempts (request_id, n, runner_id, job_id, model_id, tag_set_id, endpoint, account, class,
 opened, ended, outcome, failure, status, billing, use, usage_from, tin, tcached, tout, treason, rate_id, hold, cost,
 ttfb, error) VALUES (?, ?, 1, ?, ?, ?, ?, '1a2b3c4d@api.together.ai', 'live', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
 ?, ?, ?)"""
_FAILURES = (
    # how often, outcome, kind, status, billing, what is said
    (0.028, "failure", "rate_limited", 429, "not_billed", "You have reached the rate limit of this model"),
    (0.006, "failure", "overloaded", 503, "unknown", "The server is overloaded, please try again later"),
    (0.004, "failure", "timeout", None, "unknown", "no whole answer within 120 s"),
    (0.002, "failure", "server_error", 500, "unknown", "Internal server error"),
    (0.0006, "lost", "lost", None, "unknown", None),
)


def _request(
    db: sqlite3.Connection, dice: random.Random, key: int, lanes: list[Lane], tag_sets: list[int | None], days: int
) -> int:
    """Write a request and its calls; return how many those are."""
    lane = dice.choices(lanes, [model.share for _, model, _, _ in lanes])[0]
    lane_id, model, card, rate_id = lane
    job_id = 5 if model.endpoint == EMBED else dice.choices((1, 2, 3, 4, 6, 7), (30, 22, 18, 10, 12, 8))[0]
    tag_set = dice.choice(tag_sets) if job_id in (1, 6) else None
    at, tin = _moment(dice, days), max(20, round(dice.lognormvariate(0, 0.45) * model.tin))
    bound = None if model.endpoint == EMBED else (512 if model.tout < 400 else 4_096)
    hold = None if card is None else card.hold(round(1.15 * tin), 0 if bound is None else bound)
    shared = (job_id, lane_id, tag_set, model.endpoint)
    n, attempt_id = 0, None
    for ends in _ends(dice):
        n += 1
        took = round(dice.lognormvariate(0, 0.5) * model.seconds * 1e6) + 40_000
        row = (*ends, at, at + (took if ends[0] == "reply" else took // 3))
        attempt_id = _attempt(db, dice, (key, n, *shared), model, (card, rate_id, hold), tin, row)
        at += took + dice.randrange(1, 40) * 1_000_000
    refused = ends[0] != "reply"
    est = round(tin * dice.uniform(0.88, 1.1))
    db.execute(
        _REQUEST,
        (key, job_id, key, f"row-{key}", hashlib.sha256(b"%d" % key).digest()[:16], model.endpoint, lane_id, tag_set,
         "failed" if refused else "succeeded", n - 1, n, est, bound, attempt_id, ends[1] if refused else None),
    )  # fmt: skip
    return n


def _moment(dice: random.Random, days: int) -> int:
    """Return a moment: fewer calls on weekends, most at night."""
    while True:
        day = dice.randrange(days)
        if (day + 4) % 7 < 5 or dice.random() < 0.35:
            hour = (dice.gauss(22, 2.5) if dice.random() < 0.6 else dice.uniform(6, 20)) % 23.9
            return FIRST + round((24 * day + hour) * HOUR)


End = tuple[str, str | None, int | None, str, str | None]


def _ends(dice: random.Random) -> Iterator[End]:
    """Yield how the calls of a request end: some failures, and then an answer or a refusal for good."""
    for often, outcome, kind, status, billing, said in _FAILURES:
        if dice.random() < often:
            yield outcome, kind, status, billing, said
    if dice.random() < 0.003:
        yield "failure", "invalid_request", 400, "not_billed", "'messages' must contain at least one entry"
    else:
        if dice.random() < 0.004:
            yield "failure", "bad_reply", 200, "billed", "the answer is not what this endpoint answers"
        yield "reply", None, 200, "billed", None


def _attempt(  # noqa: PLR0917
    db: sqlite3.Connection, dice: random.Random, head: tuple[Any, ...], model: Model, money: Any, tin: int, end: Any
) -> int | None:
    outcome, kind, status, billing, said, opened, ended = end
    card, rate_id, hold = money
    tokens: tuple[int | None, ...] = (None, None, None, None)
    cost, told = None, "none"
    if billing == "billed":
        tout = round(dice.lognormvariate(0, 0.6) * model.tout)
        told = "estimated" if model.endpoint == EMBED else "provider"
        tokens = (tin, round(tin * model.cached * dice.random()), tout, round(tout * model.reasoning))
        cost = None if card is None else card.cost(Usage(tin, tokens[1] or 0, tout, tokens[3] or 0))
    use = "used" if outcome == "reply" else "wasted"
    values = (*head, opened, ended, outcome, kind, status, billing, use, told, *tokens, rate_id, hold, cost)
    first_byte = (ended - opened) // 4
    return db.execute(_ATTEMPT, (*values, first_byte, said)).lastrowid


def main() -> None:
    """Make a ledger."""
    parser = argparse.ArgumentParser(description="Make a large ledger without calling anybody.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--models", type=int, default=12, choices=range(1, len(MODELS) + 1), metavar="1..12")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    calls = make(given.path, rows=given.rows, days=given.days, models=given.models, seed=given.seed)
    print(f"{given.path}: {given.rows:,} requests, {calls:,} calls, {given.path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
