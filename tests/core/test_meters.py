"""A cost laid out by meter: never a pico-dollar more or less, and by its prices wherever these explain it."""

from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.meters import CALLS, meters
from batchrunner.core.pricing import PICO, RateCard
from batchrunner.core.terms import Tier
from batchrunner.core.usage import Usage

PRICE = st.none() | st.integers(0, 5_000_000)
TOKENS = st.integers(0, 10**6)


def card(**prices: int | None) -> RateCard:
    return RateCard(provider="p", model="m", valid_from=0, **prices)


@st.composite
def call(draw: st.DrawFn) -> Usage:
    given_, cached = draw(TOKENS), draw(TOKENS)
    return Usage(
        input=given_, cached=min(cached, given_), output=draw(TOKENS), characters=draw(st.integers(0, 10**5)),
        images=draw(st.integers(0, 4)), pixels=draw(st.integers(0, 10**7)), milliseconds=draw(st.integers(0, 10**7)),
        searches=draw(st.integers(0, 3)),
    )  # fmt: skip


@given(
    st.builds(
        card, input=PRICE, cached=PRICE, output=PRICE, character=PRICE, megapixel=PRICE, hour=PRICE, search=PRICE
    ),
    st.lists(call(), min_size=1, max_size=4),
    st.integers(0, 10**15),
)
def test_the_meters_of_calls_come_to_their_cost(rates: RateCard, calls: list[Usage], stated: int) -> None:
    costs = [rates.cost(usage) for usage in calls]
    total = Usage(*map(sum, zip(*(usage[:-1] for usage in calls), strict=True)))
    for cost in (sum(cost or 0 for cost in costs), stated):
        found = meters(rates, total, cost, len(calls))
        assert sum(meter.cost for meter in found) == cost
        assert found
        for meter in found:
            if meter.price is not None and meter.name not in ("Megapixels", "Hours"):
                assert meter.quantity * meter.price == meter.cost * PICO


@given(st.lists(st.tuples(TOKENS, st.integers(0, 100), TOKENS), min_size=1, max_size=5))
def test_tokens_are_laid_out_by_their_prices_each_once(calls: list[tuple[int, int, int]]) -> None:
    rates = card(input=1_000, cached=100, output=3_000)
    usages = [Usage(input=given_, cached=given_ * share // 100, output=made) for given_, share, made in calls]
    total = Usage(*map(sum, zip(*(usage[:-1] for usage in usages), strict=True)))
    cost = sum(rates.cost(usage) or 0 for usage in usages)
    found = {meter.name: meter.consumed for meter in meters(rates, total, cost, len(calls))}
    if cost:
        assert found.get("Cached Input Tokens", 0) == total.cached
        assert found.get("Input Tokens", 0) == total.input - total.cached
        assert found.get("Output Tokens", 0) == total.output


LONG = 500_000
DISCOUNTS = st.lists(st.integers(1, 10**6), max_size=2).map(tuple)


@given(
    st.tuples(*(st.integers(0, 5_000_000),) * 4),
    DISCOUNTS,
    st.booleans(),
    st.lists(st.tuples(TOKENS, st.integers(0, 100), TOKENS, st.integers(0, 100)), min_size=1, max_size=4),
)
def test_list_price_and_what_is_paid_are_laid_out_beside_each_other(
    picos: tuple[int, ...], discounts: tuple[int, ...], tiered: bool, drawn: list[tuple[int, ...]]
) -> None:
    given_, cached, thought, long = picos
    tiers = (Tier(above_tokens=LONG, input=long),) if tiered else ()
    prices = {"input": given_, "cached": cached, "output": 7, "reasoning": thought, "tiers": tiers}
    calls = [Usage(n + (LONG + 1) * tiered, n * part // 100, out, out * share // 100) for n, part, out, share in drawn]
    if not tiered:
        calls = [
            usage._replace(input=usage.input % LONG, cached=min(usage.cached, usage.input % LONG)) for usage in calls
        ]
    rates = RateCard(provider="p", model="m", valid_from=0, discounts=discounts, **prices)
    listed = sum(RateCard(provider="p", model="m", valid_from=0, **prices).cost(usage) or 0 for usage in calls)
    paid = sum(rates.cost(usage) or 0 for usage in calls)
    total = Usage(*map(sum, zip(*(usage[:-1] for usage in calls), strict=True)))
    found = meters(rates, total, paid, len(calls), LONG if tiered else 0)
    assert sum(meter.cost for meter in found) == paid
    if not total.input + total.output:
        return
    assert CALLS not in {meter.name for meter in found}, "these prices explain the cost"
    assert sum(meter.listed for meter in found) == listed
    for meter in found:
        assert meter.price is not None
        assert meter.quantity * meter.price == meter.listed * PICO
        assert meter.net is None or meter.net <= meter.price
    if all(meter.net is not None for meter in found):
        assert [meter.quantity * (meter.net or 0) for meter in found] == [meter.cost * PICO for meter in found]
    asked = dict.fromkeys(("Input Tokens", "Cached Input Tokens", "Output Tokens", "Reasoning Tokens"), 0)
    assert asked | {meter.name: meter.consumed for meter in found} == {
        "Input Tokens": total.input - total.cached,
        "Cached Input Tokens": total.cached,
        "Output Tokens": total.output - total.reasoning,
        "Reasoning Tokens": total.reasoning,
    }


@given(st.integers(1, 10**12), DISCOUNTS, st.lists(st.integers(1, 10**7), min_size=1, max_size=4))
def test_what_is_sold_by_the_hour_keeps_its_price_under_a_discount(
    price: int, discounts: tuple[int, ...], lengths: list[int]
) -> None:
    rates = RateCard(provider="p", model="m", valid_from=0, hour=price, discounts=discounts)
    paid = sum(rates.cost(Usage(milliseconds=length)) or 0 for length in lengths)
    (found,) = meters(rates, Usage(milliseconds=sum(lengths)), paid, len(lengths))
    assert (found.name, found.price, found.cost) == ("Hours", price, paid)
    assert 0 <= found.listed - sum(lengths) * price // 3_600_000 <= len(lengths)


def test_a_cost_that_no_price_and_discount_explains_has_no_price() -> None:
    rates = RateCard(provider="p", model="m", valid_from=0, input=1_000, discounts=(125_000,))
    ((exact),) = meters(rates, Usage(input=8), 7_000, 1)
    assert (exact.price, exact.net, exact.listed, exact.cost) == (1_000, 875, 8_000, 7_000)
    for cost in (6_999, 7_001, 8_000):
        assert [meter.name for meter in meters(rates, Usage(input=8), cost, 1)] == [CALLS]
    odd = RateCard(provider="p", model="m", valid_from=0, input=1, output=3, discounts=(1,))
    found = meters(odd, Usage(input=1, output=1), 4, 1)
    assert [(meter.net, meter.listed, meter.cost) for meter in found] == [(None, 1, 0), (None, 3, 4)]
    assert [meter.name for meter in meters(odd, Usage(input=1, output=1), 6, 1)] == [CALLS]
    close = RateCard(provider="p", model="m", valid_from=0, input=999_995, discounts=(1,))
    ((nearly),) = meters(close, Usage(input=1), 999_995, 1)
    assert nearly.net is None, "999,994.000005 pico-dollars are no price that a column holds"


def test_minutes_and_megapixels_that_are_rounded_up_by_the_call_keep_their_price() -> None:
    hour = card(hour=90_000_000_001)
    cost = sum(hour.cost(Usage(milliseconds=length)) or 0 for length in (1, 2_001, 59_999))
    (found,) = meters(hour, Usage(milliseconds=62_001), cost, 3)
    assert (found.name, found.consumed, found.unit, found.cost) == ("Hours", 62_001, "Milliseconds", cost)
    assert found.price == 90_000_000_001
    picture = card(megapixel=2_700_000_000)
    (found,) = meters(picture, Usage(images=1, pixels=98_304), picture.cost(Usage(images=1, pixels=98_304)) or 0, 1)
    assert (found.name, found.quantity) == ("Megapixels", 98_304_000_000)


def test_what_the_prices_do_not_explain_is_one_meter_without_a_price() -> None:
    (found,) = meters(card(input=10), Usage(input=5), 49, 2)
    assert (found.name, found.price, found.cost, found.consumed) == (CALLS, None, 49, 2)
    (found,) = meters(None, Usage(), 280, 1)
    assert (found.name, found.cost) == (CALLS, 280)
