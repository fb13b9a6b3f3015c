"""What we say that it cost, against what the provider billed: two books by two programs, equal to the pico-dollar.

Prices are written here by hand, in pico-dollars per token, from the published price list (USD per million tokens times
a million); the tokens come from the provider's own ledger.
"""

import pytest

from batchrunner.simulator import Entry
from tests.e2e.bills import costs, pico
from tests.e2e.conftest import Start
from tests.e2e.place import EMBED, GPT, LLAMA, Place, chat, chats, embedding

pytestmark = pytest.mark.slow

INPUT, OUTPUT = 0, 1
PRICES = {
    LLAMA: (1_040_000, 1_040_000),  # $1.04 in, $1.04 out, since September 2026
    GPT: (50_000, 200_000),  # $0.05 in, $0.20 out
    EMBED: (8_000, 0),  # $0.008 in
}
OWN = "acme/house-model"
OWN_PRICES = (300_000, 1_200_000, 60_000)
"""Input, output and cached input of a price file of the test's own: $0.30, $1.20, $0.06."""
UNKNOWN = "nobody/has-a-price-for-this"


def billed(call: Entry) -> int:
    """The true price of a call."""
    price = PRICES[call.model]
    return call.input_tokens * price[INPUT] + call.output_tokens * price[OUTPUT]


def used(place: Place) -> set[int]:
    return {number for (number,) in place.rows("SELECT id FROM attempts WHERE use = 'used'")}


def number(call: Entry) -> int:
    return int(call.client_request_id or 0)


def test_the_recorded_sum_is_the_providers_own_to_the_last_pico_dollar(at: Start) -> None:
    faults = {"billed500": 0.06, "reset_before": 0.06, "500": 0.03, "429": 0.03}
    # Slower than a second: a reset that comes sooner on a reused connection is taken for one that was idle too long.
    place = at(faults=faults, latency=1.15, latency_jitter=0.05, retry_after_style="none", seed=3)
    place.file([*chats(50, "a", LLAMA), *chats(50, "b", GPT), *[embedding(f"e-{i}", f"text {i}") for i in range(20)]])
    ended = place.run(*place.job("--concurrency", "60"))
    assert ended.code == 0, ended.err
    found, calls, ours = costs(place, "--by", "model"), place.box.calls(), used(place)

    drawn = {call.fault for call in calls}
    assert drawn >= {"billed500", "reset_before"}, "the seed draws no fault that costs money"
    told = [call for call in calls if call.usage is not None and number(call) in ours]
    assert len(told) == 100
    assert pico(found["total"]["usd"]["recorded"]) == sum(map(billed, told))
    by_model = {row["model"]: row for row in found["rows"]}
    for model in (LLAMA, GPT):
        mine = [call for call in told if call.model == model]
        assert pico(by_model[model]["usd"]["recorded"]) == sum(map(billed, mine))
        assert by_model[model]["usd"]["estimated"] == "0"
        assert by_model[model]["tokens"]["input"] == sum(call.input_tokens for call in mine)
        assert by_model[model]["tokens"]["output"] == sum(call.output_tokens for call in mine)

    assert by_model[EMBED]["usd"]["recorded"] == "0", "Together's embeddings carry no usage"
    assert pico(by_model[EMBED]["usd"]["estimated"]) > 0

    rest = [call for call in calls if call.billed and number(call) not in ours]
    assert rest
    assert pico(found["total"]["usd"]["possibly_billed"]) >= sum(map(billed, rest)) > 0
    doubtful = dict(place.rows("SELECT id, hold FROM attempts WHERE billing = 'unknown'"))
    assert all(doubtful.get(number(call), -1) >= billed(call) for call in rest), "each is counted, at its worst price"
    assert found["total"]["usd"]["wasted"] == "0"
    assert found["total"]["unpriced_calls"] == 0
    assert found["total"]["calls"] == len(calls)


def test_every_line_says_its_own_cost_and_the_lines_add_up(at: Start) -> None:
    place = at()
    place.file(chats(40, "a", LLAMA))
    assert place.run(*place.job()).code == 0
    lines = place.lines()
    by_call = {number(call): billed(call) for call in place.box.calls()}
    ours = {custom_id: by_call[attempt] for attempt, custom_id in place.rows(
        "SELECT a.id, r.custom_id FROM attempts AS a JOIN requests AS r ON r.id = a.request_id")}  # fmt: skip
    assert {line["custom_id"]: pico(line["batchrunner"]["cost_usd"]) for line in lines} == ours


def test_h22_cached_tokens_have_their_own_price_and_a_model_without_one_is_unpriced_not_free(at: Start) -> None:
    place = at(cached_share=0.4)
    (place.folder / "mine.toml").write_text(
        f'[[price]]\nprovider = "together"\nnames = ["{OWN}"]\ninput = "0.30"\noutput = "1.20"\ncached = "0.06"\n'
    )
    (place.folder / "batchrunner.toml").write_text('price_files = ["mine.toml"]\n')
    long = "many words that are worth a cache " * 20
    place.file([*[chat(f"a-{i}", f"{i} {long}", OWN) for i in range(15)], *chats(5, "b", UNKNOWN)])
    ended = place.run(*place.job())
    assert ended.code == 0, ended.err
    assert f"no price for {UNKNOWN}" in ended.err, "the estimate says what it does not know"

    found = {row["model"]: row for row in costs(place, "--by", "model")["rows"]}
    mine = [call for call in place.box.calls() if call.model == OWN]
    fresh, made, cached = OWN_PRICES
    assert sum(call.cached_tokens for call in mine) > 0
    assert pico(found[OWN]["usd"]["recorded"]) == sum(
        (call.input_tokens - call.cached_tokens) * fresh + call.cached_tokens * cached + call.output_tokens * made
        for call in mine
    )
    assert found[OWN]["unpriced_calls"] == 0
    assert found[UNKNOWN]["unpriced_calls"] == 5
    assert set(found[UNKNOWN]["usd"].values()) <= {"0", None}
    table = place.run("costs", "--db", "q.db", "--by", "model")
    (row,) = [line for line in table.out.splitlines() if line.startswith(UNKNOWN)]
    assert "unpriced" in row
    assert "$0.00" not in row
    assert {line["batchrunner"]["cost_usd"] for line in place.lines() if line["custom_id"].startswith("b")} == {None}
