"""Slices of costs, over ledgers of every kind: each is the sum of its own attempts, and all of them make the total."""

import sqlite3
import tempfile
from collections import defaultdict
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrunner.core.attempt import Billing, FailureKind
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.meters import meters
from batchrunner.core.pricing import RateCard
from batchrunner.core.retry import GiveUp, Succeed
from batchrunner.core.slices import Within
from batchrunner.core.terms import Tier
from batchrunner.core.usage import Usage, UsageFrom
from batchrunner.store.check import check
from batchrunner.store.database import open_reader, open_store
from batchrunner.store.rollups import RECOUNT_TOTALS
from tests.store.making import ACCOUNTS, CHAT, DAY, INFO, NOW, USAGE, close, heads, line, load, opening, refusal, reply

SECOND = 1_000_000
FIRST = datetime(2026, 10, 20, tzinfo=UTC)  # Europe's clocks go back on the 25th, America's on November 1st
TAGS = ((), (("team", "ads"),), (("env", "prod"), ("team", "ads")), (("team", ""),), (("env", "=cmd"),))
JOB_TAGS = ((), (("team", "core"),), (("env", "dev"), ("team", "core")))
ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Kiritimati")
SLICES = ("model", "job", "day", "month", "endpoint", "provider", "account", "outcome", "tag:team", "tag:env")
ENDPOINTS = (CHAT, "/v1/embeddings")


class Bought(NamedTuple):
    """One attempt, and what it was."""

    job: int
    model: int
    tags: int
    endpoint: int
    seconds: int
    kind: str
    cost: int


KINDS = ("told", "guessed", "wasted", "wasted guess", "doubtful", "unpriced", "refused")
BOUGHT = st.builds(
    Bought,
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, len(TAGS) - 1),
    st.integers(0, 1),
    st.integers(0, 20 * 86_400),
    st.sampled_from(KINDS),
    st.integers(0, 10**15),
)
CHANGES = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["team", "env"]),
        st.sampled_from([None, "new", "ads"]),
        st.booleans(),
    ),
    max_size=4,
)
WITHIN = st.builds(
    Within,
    st.none() | st.integers(20_745, 20_770),
    st.none() | st.integers(20_745, 20_770),
    st.lists(st.sampled_from([("team", "ads"), ("team", None), ("env", "dev"), ("team", "new")]), max_size=2).map(
        tuple
    ),
    st.sampled_from(ZONES),
)


def closed(call, bought):
    told = {"usage": USAGE, "usage_from": UsageFrom.PROVIDER}
    guess = {"usage": Usage(5, 0, 6, 0), "usage_from": UsageFrom.ESTIMATED}
    given = {"ended": call[1].opened + SECOND, "cost": bought.cost}
    bad = GiveUp(FailureKind.SERVER_ERROR)
    match bought.kind:
        case "told":
            return close(call, reply(), Succeed(), **(given | told))
        case "guessed":
            return close(call, reply(usage=None), Succeed(), **(given | guess))
        case "wasted":
            return close(call, refusal(billing=Billing.BILLED), bad, **(given | told))
        case "wasted guess":
            return close(call, refusal(billing=Billing.BILLED), bad, **(given | guess))
        case "doubtful":
            return close(call, refusal(billing=Billing.UNKNOWN), bad, **(given | {"cost": None}))
        case "unpriced":
            return close(call, reply(), Succeed(), **(given | told | {"cost": None}))
    return close(call, refusal(), bad, **(given | {"cost": None}))


def ledger(path, everything, changes=()):
    """Write a ledger as runs do, and what was said of its tags afterwards."""
    with open_store(path) as store:
        store.start(INFO, NOW, ACCOUNTS)
        jobs = []
        for number, tags in enumerate(JOB_TAGS):
            mine = [bought for bought in everything if bought.job == number]
            lines = [
                line(n, model=f"m{bought.model}", tags=TAGS[bought.tags], endpoint=ENDPOINTS[bought.endpoint])
                for n, bought in enumerate(mine, 1)
            ]
            provider = "together" if number else "openai"
            job = load(store, lines, f"job{number}", tags=tags, provider=provider)
            jobs.append(job)
            claimed = sorted(heads(store, job, 1_000), key=lambda head: head.id)
            opened = [int(FIRST.timestamp() + bought.seconds) * SECOND for bought in mine]
            openings = [
                opening(head, opened=at, hold=bought.cost)
                for head, at, bought in zip(claimed, opened, mine, strict=True)
            ]
            calls = list(zip(store.commit(openings, [], [], NOW), openings, strict=True)) if openings else []
            store.commit([], [closed(call, bought) for call, bought in zip(calls, mine, strict=True)], [], NOW)
        for job, key, value, lines_too in changes:
            store.retag(jobs[job].id, [(key, value)], lines=lines_too, now=NOW)
    return jobs


def tags_now(bought, changes):
    """The tags of an attempt by the rule in words: a line's own over its job's, and what was said later over both."""
    job, own, forced = dict(JOB_TAGS[bought.job]), dict(TAGS[bought.tags]), {}
    for number, key, value, lines_too in changes:
        if number != bought.job:
            continue
        job[key] = value
        if lines_too or key in forced:
            forced[key] = value
    return {key: value for key, value in {**job, **own, **forced}.items() if value is not None}


def facts(bought, changes, zone):
    at = (FIRST + timedelta(seconds=bought.seconds)).astimezone(ZoneInfo(zone))
    tags = tags_now(bought, changes)
    return {
        "model": f"m{bought.model}",
        "job": f"job{bought.job}",
        "day": at.date().isoformat(),
        "month": at.strftime("%Y-%m"),
        "endpoint": ENDPOINTS[bought.endpoint],
        "provider": "together" if bought.job else "openai",
        "account": ACCOUNTS["together"] if bought.job else "",
        "outcome": "reply" if bought.kind in ("told", "guessed", "unpriced") else "failure",
        "tag:team": tags.get("team"),
        "tag:env": tags.get("env"),
        "number": (at.date() - date(1970, 1, 1)).days,
        "tags": tags,
    }


def counts(within, its):
    if within.since is not None and its["number"] < within.since:
        return False
    if within.until is not None and its["number"] > within.until:
        return False
    return all(its["tags"].get(key) == value for key, value in within.tags)


SUMS = ("attempts", "recorded", "estimated", "possibly_billed", "wasted", "wasted_estimated", "unpriced", "doubtful")


def expected(everything, changes, by, within):
    """The slices, by hand."""
    found = defaultdict(lambda: dict.fromkeys(SUMS, 0))
    for bought in everything:
        its = facts(bought, changes, within.zone)
        if not counts(within, its):
            continue
        sums = found[tuple(its[name] for name in by)]
        sums["attempts"] += 1
        for name in {
            "told": ("recorded",),
            "guessed": ("estimated",),
            "wasted": ("wasted",),
            "wasted guess": ("wasted", "wasted_estimated"),
            "doubtful": ("possibly_billed",),
        }.get(bought.kind, ()):
            sums[name] += bought.cost
        sums["unpriced"] += bought.kind == "unpriced"
        sums["doubtful"] += bought.kind == "doubtful"
    if not by and not found:
        found[()]  # one row, of nothing
    return dict(found)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.lists(BOUGHT, max_size=12), CHANGES, st.lists(st.sampled_from(SLICES), max_size=4, unique=True), WITHIN)
def test_every_slice_is_the_sum_of_its_attempts_and_all_of_them_the_total(everything, changes, by, within):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "q.db"
        ledger(path, everything, changes)
        with closing(open_reader(path)) as reader:
            rows = reader.costs(by, None, within)
            (total,) = reader.costs((), None, within)
    assert {row.key: {name: getattr(row, name) for name in SUMS} for row in rows} == expected(
        everything, changes, by, within
    )
    for name in SUMS:
        assert sum(getattr(row, name) for row in rows) == getattr(total, name)


EVERY = [
    Bought(job, (job + tags) % 3, tags, tags % 2, (7 * place * 3_607) % (20 * 86_400), kind, 10**12 + 17 * place)
    for place, (job, tags, kind) in enumerate(product(range(3), range(len(TAGS)), KINDS))
]
"""Each kind of attempt with all tags there are, over twenty days."""
RETAGGED = [(1, "team", "new", True), (1, "team", "ads", False), (2, "env", None, True), (0, "env", "new", False)]


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wide")
    ledger(folder / "plain.db", EVERY)
    ledger(folder / "retagged.db", EVERY, RETAGGED)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("changes", [[], RETAGGED], ids=["plain", "retagged"])
def test_a_wide_ledger_is_sliced_in_every_way_as_a_person_would(wide, changes, zone):
    days = [(None, None), (20_747, 20_751), (20_752, 20_752), (20_770, None), (None, 20_745)]
    with closing(open_reader(wide / ("retagged.db" if changes else "plain.db"))) as reader:
        for by in ((), *((name,) for name in SLICES), ("day", "tag:team"), ("tag:env", "tag:team", "outcome")):
            for since, until in days:
                within = Within(since, until, (), zone)
                found = {row.key: {name: getattr(row, name) for name in SUMS} for row in reader.costs(by, None, within)}
                assert found == expected(EVERY, changes, by, within), (by, within)
        for tags in ((("team", "ads"),), (("team", None),), (("env", "dev"), ("team", "core")), (("team", "new"),)):
            within = Within(tags=tags, zone=zone)
            found = {
                row.key: {name: getattr(row, name) for name in SUMS} for row in reader.costs(["job"], None, within)
            }
            assert found == expected(EVERY, changes, ("job",), within), within


def test_a_time_zone_tells_lost_attempts_from_failed_ones(tmp_path):
    path = tmp_path / "q.db"
    late = 23 * 3_600 + 1  # the next day in Berlin
    ledger(path, [Bought(0, 0, 0, 0, late, "doubtful", 5), Bought(0, 0, 0, 0, late, "doubtful", 7)])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE attempts SET outcome = 'lost' WHERE id = 2")
        connection.execute("DELETE FROM totals")
        connection.execute(f"INSERT INTO totals {RECOUNT_TOTALS}")
    with closing(open_reader(path)) as reader:
        rows = reader.costs(["outcome", "day"], None, Within(zone="Europe/Berlin"))
    assert [(row.key, row.possibly_billed) for row in rows] == [
        (("failure", "2026-10-21"), 5), (("lost", "2026-10-21"), 7),
    ]  # fmt: skip


def test_slices_come_in_order_and_what_is_nobodys_comes_last(tmp_path):
    path = tmp_path / "q.db"
    everything = [Bought(0, 0, tags, 0, 0, "told", 1) for tags in (0, 1, 3)]
    ledger(path, everything)
    with closing(open_reader(path)) as reader:
        assert [row.key for row in reader.costs(["tag:team"])] == [("",), ("ads",), (None,)]


def test_a_slice_by_a_tag_needs_a_key_and_a_zone_a_name(tmp_path):
    path = tmp_path / "q.db"
    ledger(path, [Bought(0, 0, 0, 0, 0, "told", 1)])
    with closing(open_reader(path)) as reader:
        with pytest.raises(ConfigurationError, match="tag:"):
            reader.costs(["tag:"])
        with pytest.raises(ConfigurationError, match="Mars"):
            reader.costs(["day"], None, Within(zone="Mars/Olympus"))


def test_retagging_rewrites_no_attempt_and_leaves_the_books_sound(tmp_path):
    path = tmp_path / "q.db"
    everything = [Bought(1, 0, tags, 0, 0, "told", 7) for tags in range(len(TAGS))]
    jobs = ledger(path, everything)
    with closing(open_reader(path)) as reader:
        before = [row._replace(key=()) for row in reader.costs(["account", "job"])]
    with open_store(path) as store:
        store.retag(jobs[1].id, [("team", "new"), ("env", None)], lines=True, now=NOW)
        assert store.jobs()[1].tags == (("team", "new"),)
    with closing(open_reader(path)) as reader:
        assert [row.key for row in reader.costs(["tag:team", "tag:env"])] == [("new", None)]
        assert [row._replace(key=()) for row in reader.costs(["account", "job"])] == before
    assert check(path) == []


# ---- charges


CARD = RateCard(provider="openai", model="m0", valid_from=0, input=880_000, output=1_100_000, cached=80_000)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.lists(BOUGHT, max_size=10))
def test_charges_hold_all_that_was_certainly_billed_and_their_meters_come_to_the_same(everything):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "q.db"
        ledger(path, everything)
        with closing(open_reader(path)) as reader:
            charges, (total,) = reader.charges(), reader.costs(())
    certain = total.recorded + total.estimated + total.wasted
    assert sum(charge.cost for charge in charges) == certain
    laid_out = [meter for each in charges for meter in meters(each.card, each.usage, each.cost, each.attempts)]
    assert sum(meter.cost for meter in laid_out) == certain
    assert [charge.day for charge in charges] == sorted(charge.day for charge in charges)


def test_cached_tokens_save_what_fresh_ones_would_have_cost_more(tmp_path):
    path = tmp_path / "q.db"
    with open_store(path) as store:
        store.start(INFO, NOW, ACCOUNTS)
        rate = store.rate(CARD)
        job = load(store, 3, provider="openai")
        openings = [opening(head, rate_id=rate, opened=NOW + n * DAY) for n, head in enumerate(heads(store, job))]
        calls = list(zip(store.commit(openings, [], [], NOW), openings, strict=True))
        used = Usage(input=100, cached=60, output=10)
        cost = 40 * 880_000 + 60 * 80_000 + 10 * 1_100_000
        told = {"usage": used, "usage_from": UsageFrom.PROVIDER, "cost": cost}
        store.commit([], [close(call, reply(usage=used), Succeed(), **told) for call in calls], [], NOW)
    with closing(open_reader(path)) as reader:
        assert reader.savings() == 3 * 60 * 800_000
        assert reader.savings(None, Within(since=NOW // DAY + 2)) == 60 * 800_000
        assert reader.savings(None, Within(tags=(("team", "ads"),))) == 0
        charges = reader.charges()
    assert [
        (meter.name, meter.consumed, meter.cost) for meter in meters(CARD, charges[0].usage, charges[0].cost, 1)
    ] == [
        ("Input Tokens", 40, 35_200_000),
        ("Cached Input Tokens", 60, 4_800_000),
        ("Output Tokens", 10, 11_000_000),
    ]
    assert charges[0].card == CARD


TIERED = RateCard(
    provider="openai", model="m0", valid_from=0, input=1_000, output=3_000, cached=400, discounts=(250_000,),
    tiers=(Tier(above_tokens=100, input=2_000), Tier(above_tokens=1_000, input=4_000, cached=800)),
)  # fmt: skip


def test_charges_of_long_prompts_are_apart_and_laid_out_by_their_own_prices(tmp_path):
    path = tmp_path / "q.db"
    usages = [Usage(n, 50, 10, 0) for n in (100, 101, 1_000, 1_001)]
    with open_store(path) as store:
        store.start(INFO, NOW, ACCOUNTS)
        rate = store.rate(TIERED)
        job = load(store, 5, provider="openai", tags=(("team", "ads"),))
        openings = [opening(head, rate_id=rate, opened=NOW) for head in heads(store, job)]
        calls = list(zip(store.commit(openings, [], [], NOW), openings, strict=True))
        told = [{"usage": each, "usage_from": UsageFrom.PROVIDER, "cost": TIERED.cost(each)} for each in usages]
        ends = [
            close(call, reply(usage=one["usage"]), Succeed(), **one) for call, one in zip(calls[:4], told, strict=True)
        ]
        doubtful = close(calls[4], refusal(billing=Billing.UNKNOWN), GiveUp(FailureKind.SERVER_ERROR), cost=None)
        store.commit([], [*ends, doubtful], [], NOW)
    with closing(open_reader(path)) as reader:
        charges, (total,) = reader.charges(), reader.costs(())
        saved = reader.savings()
        assert reader.charges(None, Within(tags=(("team", "ads"),))) == charges
        assert reader.charges(None, Within(tags=(("team", None),), zone="Europe/Berlin")) == []
        assert reader.savings(None, Within(until=NOW // DAY - 1)) == 0
    # By hand: three quarters of (fresh x price + 50 cached x price + 10 made x price).
    paid = [0.75 * (50 * 1_000 + 50 * 400 + 30_000), 0.75 * (1_001 * 2_000 + 100 * 400 + 60_000)]
    paid.append(0.75 * (951 * 4_000 + 50 * 800 + 30_000))
    assert [(charge.above, charge.attempts, charge.cost) for charge in charges] == [
        (0, 1, paid[0]), (100, 2, paid[1]), (1_000, 1, paid[2]),
    ]  # fmt: skip
    assert sum(charge.cost for charge in charges) == total.recorded
    for charge in charges:
        laid_out = meters(charge.card, charge.usage, charge.cost, charge.attempts, charge.above)
        assert {meter.name for meter in laid_out} == {"Input Tokens", "Cached Input Tokens", "Output Tokens"}
    assert saved == 0.75 * (50 * 600 + 100 * 1_600 + 50 * 3_200)
