"""The widest job there is, with all that goes wrong and a price that changes in the middle: our bill is the provider's.

What a call cost is computed here a second time, in fractions of a dollar, from what the provider in a box wrote down
and from prices written by hand; then it is put into slices by what the job file says of its lines, not by our tables.
"""

import csv
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import pytest

from batchrunner.simulator import Entry
from batchrunner.store.check import check
from tests.e2e.bills import costs, pico
from tests.e2e.place import ROOT, Box, Place, boxed, placed

pytestmark = pytest.mark.slow

JOBS = ROOT / "jobs"
LINES = [json.loads(line) for line in (JOBS / "everything.jsonl").read_bytes().splitlines()]
TEAMS = ("ads", "search", None)
"""The tag of each copy of the file's lines; the last ones have none of their own, and their job's is another."""

LLAMA, FLUX = "meta-llama/Llama-3.3-70B-Instruct-Turbo", "black-forest-labs/FLUX.1-schnell"
GPT, WHISPER = "openai/gpt-oss-20b", "openai/whisper-large-v3"
NEW_PRICES = f"""
[[price]]
provider = "together"
names = ["{LLAMA}"]
input = "2.08"
cached = "0.5"
output = "3.12"

[[price]]
provider = "together"
names = ["{GPT}"]
input = "0.07"
output = "0.301"

[[price]]
provider = "together"
names = ["{FLUX}"]
megapixel = "0.0031"
steps = 4

[[price]]
provider = "together"
names = ["{WHISPER}"]
hour = "0.1234567"
"""
MILLION = 10**6


def new_price(call: Entry) -> int | None:
    """What a call costs after the change, in pico-dollars; None: its model's price is as it was."""
    units = call.units
    if call.model == LLAMA:
        fresh = call.input_tokens - call.cached_tokens
        usd = (
            fresh * Fraction("2.08") + call.cached_tokens * Fraction("0.5") + call.output_tokens * Fraction("3.12")
        ) / MILLION
    elif call.model == GPT:
        usd = (call.input_tokens * Fraction("0.07") + call.output_tokens * Fraction("0.301")) / MILLION
    elif call.model == FLUX and units is not None:
        pixels = Fraction(units.images * units.width * units.height, MILLION)
        usd = pixels * max(Fraction(1), Fraction(units.steps, 4)) * Fraction("0.0031")
    elif call.model == WHISPER and units is not None:
        usd = Fraction(units.milliseconds, 3_600_000) * Fraction("0.1234567")
    else:
        return None
    return math.ceil(usd * 10**12)


class Told(NamedTuple):
    """A call that the provider bills, and what it really costs."""

    attempt: int
    line: str
    """The id of its line, without its copy."""
    copy: int
    call: Entry
    provider: str
    cost: int


class Done(NamedTuple):
    """Both books, when all was over."""

    place: Place
    told: list[Told]
    lost: int


def faults() -> Callable[[int, str, bytes], str | None]:
    """What goes wrong, by how many calls a path has had: each fault once, on calls that cost money."""
    seen: Counter[str] = Counter()
    planned = {
        ("/v1/chat/completions", 2): "billed500",
        ("/v1/chat/completions", 5): "500",
        ("/v1/chat/completions", 8): "429",
        ("/v1/chat/completions", 30): "billed500",
        ("/v1/completions", 2): "billed500",
        ("/v1/rerank", 1): "billed500",
        ("/v1/responses", 1): "billed500",
        ("schema", 1): "off_schema",
        ("schema", 3): "off_schema",
    }

    def fault(_number: int, path: str, body: bytes) -> str | None:
        seen[path] += 1
        if path == "/v1/chat/completions" and b'"json_schema"' in body and b'"assistant"' not in body:
            seen["schema"] += 1
            if (chosen := planned.get(("schema", seen["schema"]))) is not None:
                return chosen
        return planned.get((path, seen[path]))

    return fault


def job_file(place: Place) -> None:
    lines = []
    for copy, team in enumerate(TEAMS):
        for line in LINES:
            metadata = dict(line.get("metadata", {})) | ({"tags": {"team": team}} if team else {})
            lines.append({**line, "custom_id": f"{line['custom_id']}.{copy}", "metadata": metadata})
    place.file(lines)


def settings_of(place: Place, vllm: Box) -> None:
    shipped = (JOBS / "everything.toml").read_text(encoding="utf-8").replace("http://127.0.0.1:8701", vllm.url)
    (place.folder / "batchrunner.toml").write_text(shipped, encoding="utf-8")
    (place.folder / "everything.prices.toml").write_bytes((JOBS / "everything.prices.toml").read_bytes())


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    slow = {"latency": 0.15, "retry_after_style": "none", "cached_share": 0.3, "seed": 5}
    with (
        boxed(faults(), video_seconds=0.5, **slow) as one,
        boxed(faults(), flavour="openai", keyless=True, **slow) as other,
        placed(tmp_path_factory.mktemp("bill"), one) as place,
    ):
        job_file(place)
        settings_of(place, other)
        words = place.job(
            "--attachments", str(JOBS / "files"), "--repair", "1", "--tag", "team=core", "--concurrency", "12"
        )
        env = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": other.url}
        first = place.start(*words, env=env)
        one.await_calls(38)
        assert first.kill(), "the run was over before it could be killed"
        old = [len(box.calls()) for box in (one, other)]
        with (place.folder / "everything.prices.toml").open("a", encoding="utf-8") as prices:
            prices.write(NEW_PRICES)
        ended = place.run(*words, env=env)
        assert ended.code in (0, 3), ended.err
        yield books(place, [one.calls(), other.calls()], old)


def books(place: Place, calls: list[list[Entry]], old: list[int]) -> Done:
    """Put the provider's calls beside their lines; what arrived before the change has the price of before."""
    names = dict(place.rows("SELECT a.id, r.custom_id FROM attempts AS a JOIN requests AS r ON r.id = a.request_id"))
    told = []
    for box, entries in enumerate(calls):
        for number, call in enumerate(entries):
            if not call.billed:
                continue
            attempt = int(call.client_request_id or 0)
            line, _, copy = names[attempt].rpartition(".")
            cost = new_price(call) if box == 0 and number >= old[box] else None
            given = next(each for each in LINES if each["custom_id"] == line).get("metadata", {})
            provider = given.get("provider", "together")
            told.append(Told(attempt, line, int(copy), call, provider, call.charge or 0 if cost is None else cost))
    ((lost,),) = place.rows("SELECT count(*) FROM attempts WHERE outcome = 'lost'")
    return Done(place, told, lost)


def kinds(place: Place) -> dict[int, tuple[str, str, str]]:
    """What we hold each attempt for: billing, use, and where its usage is from."""
    rows = place.rows("SELECT id, billing, use, usage_from FROM attempts WHERE ended IS NOT NULL")
    return {row[0]: row[1:] for row in rows}


OF: dict[str, Callable[[Told], str | None]] = {
    "model": lambda told: told.call.model,
    "endpoint": lambda told: told.call.path,
    "provider": lambda told: told.provider,
    "job": lambda told: "job",
    "day": lambda told: datetime.fromtimestamp(told.call.wall, UTC).date().isoformat(),
    "month": lambda told: datetime.fromtimestamp(told.call.wall, UTC).strftime("%Y-%m"),
    "tag:team": lambda told: TEAMS[told.copy] or "core",
    "tag:nobody": lambda told: None,
}


def test_everything_went_wrong_that_was_to_go_wrong(done: Done) -> None:
    assert done.lost > 0
    assert check(done.place.db) == []
    drawn = {each.call.fault for each in done.told}
    assert {"billed500", "off_schema"} <= drawn
    repaired = done.place.rows("SELECT count(*) FROM attempts WHERE patch IS NOT NULL")
    assert repaired[0][0] > 0
    cards = done.place.rows("SELECT model, count(*) FROM rates GROUP BY model HAVING count(*) > 1")
    assert {model for model, _ in cards} >= {LLAMA, GPT}, "priced by two cards each"


@pytest.mark.parametrize(
    "by", [*((name,) for name in OF), ("model", "tag:team"), ("provider", "endpoint", "day", "tag:team")], ids=",".join
)
def test_what_is_recorded_is_the_providers_own_sum_in_every_slice(done: Done, by: tuple[str, ...]) -> None:
    ours = kinds(done.place)
    used: defaultdict[tuple[str | None, ...], int] = defaultdict(int)
    wasted: defaultdict[tuple[str | None, ...], int] = defaultdict(int)
    for told in done.told:
        billing, use, source = ours[told.attempt]
        if (billing, source) == ("billed", "provider"):
            sums = used if use == "used" else wasted
            sums[tuple(OF[name](told) for name in by)] += told.cost
    found = costs(done.place, *(word for name in by for word in ("--by", name)))
    rows = {tuple(row[name] for name in by): row["usd"] for row in found["rows"]}
    assert {key: pico(usd["recorded"]) for key, usd in rows.items() if usd["recorded"] != "0"} == {
        key: cost for key, cost in used.items() if cost
    }
    assert sum(used.values()) > 0
    assert sum(wasted.values()) == pico(found["waste"]["recorded_usd"]) > 0, "the answer that was repaired"
    for name in ("recorded", "estimated", "possibly_billed", "wasted"):
        assert sum(pico(usd[name]) for usd in rows.values()) == pico(found["total"]["usd"][name])


def test_the_rest_of_the_providers_ledger_lies_within_what_is_estimated_or_possibly_billed(done: Done) -> None:
    ours = kinds(done.place)
    rest = [told for told in done.told if ours[told.attempt][::2] != ("billed", "provider")]
    total = costs(done.place)
    usd = total["total"]["usd"]
    doubtful = [told for told in rest if ours[told.attempt][0] == "unknown"]
    assert len(doubtful) >= 2
    assert not any(ours[told.attempt][0] == "not_billed" for told in rest)
    assert sum(told.cost for told in doubtful) <= pico(usd["possibly_billed"])
    guessed = pico(usd["estimated"]) + pico(total["waste"]["estimated_usd"])
    assert sum(told.cost for told in rest) <= guessed + pico(usd["possibly_billed"])


def test_focus_comes_to_the_same_sum(done: Done, tmp_path: Path) -> None:
    ended = done.place.run("costs", "--db", "q.db", "--format", "focus", "-o", str(tmp_path / "focus.csv"))
    assert ended.code == 0, ended.err
    with (tmp_path / "focus.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    usd = costs(done.place)["total"]["usd"]
    assert sum(Decimal(row["BilledCost"]) for row in rows) == sum(
        Decimal(usd[name]) for name in ("recorded", "estimated", "wasted")
    )
    for row in rows:
        if row["ListUnitPrice"] and row["SkuMeter"] not in ("Megapixels", "Hours"):
            assert Decimal(row["ListUnitPrice"]) * Decimal(row["PricingQuantity"]) == Decimal(row["ListCost"])
