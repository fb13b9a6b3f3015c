"""Long prompts, discounts and batches: exact, and never cheaper than the worst case that was held for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.pricing import Price, PriceBook, RateCard
from batchrunner.core.tariff import PRICES, TOKEN_PRICES
from batchrunner.core.terms import WHOLE, Tier
from batchrunner.core.usage import Usage
from batchrunner.store.rows import rate_card, rate_columns

HALF = WHOLE // 2
TENTH = WHOLE // 10

picos = st.integers(0, 10**9)
lengths = st.lists(st.integers(1, 5_000), max_size=3, unique=True).map(sorted)


@st.composite
def tiers(draw):
    return tuple(
        Tier(above_tokens=tokens, input=draw(picos), output=draw(st.none() | picos), cached=draw(st.none() | picos))
        for tokens in draw(lengths)
    )


@st.composite
def cards(draw):
    return RateCard(
        provider="p",
        model="m",
        valid_from=0,
        input=draw(picos),
        output=draw(picos),
        cached=draw(st.none() | picos),
        reasoning=draw(st.none() | picos),
        tiers=draw(tiers()),
        discounts=tuple(draw(st.lists(st.integers(1, WHOLE), max_size=2))),
    )


@st.composite
def usages(draw):
    given, made = draw(st.integers(0, 10_000)), draw(st.integers(0, 10_000))
    return Usage(given, draw(st.integers(0, given)), made, draw(st.integers(0, made)))


@st.composite
def whole_cards(draw):
    """Whatever a card can be made of: every price, tiers of every price per token, steps, and discounts."""
    some, token = st.none() | picos, dict.fromkeys(TOKEN_PRICES, st.none() | picos)
    prices = {name: draw(some) for name in PRICES}
    if prices["image"] is not None:
        prices["megapixel"] = None
    return RateCard(
        provider="p",
        model="m",
        valid_from=0,
        **prices,
        steps=draw(st.none() | st.integers(1, 60)) if prices["megapixel"] is not None else None,
        tiers=tuple(
            Tier(above_tokens=above, **draw(st.fixed_dictionaries(token).filter(lambda own: any_price(own))))
            for above in draw(lengths)
        ),
        discounts=tuple(draw(st.lists(st.integers(1, WHOLE), max_size=2))),
    )


def any_price(own):
    return any(price is not None for price in own.values())


@st.composite
def told_and_used(draw):
    """What the body of a call tells of its units, and what the call then used: no more of anything, and any details."""
    tokens = st.integers(0, 10_000)
    used = Usage(**{name: draw(tokens) for name in Usage._fields[:-1]})
    told = Usage(**{name: amount + draw(st.integers(0, 9)) for name, amount in used._asdict().items() if name in UNITS})
    if draw(st.booleans()):
        return None, used._replace(**dict.fromkeys(UNITS, 0))
    return told, used


UNITS = ("images", "pixels", "milliseconds", "characters", "searches", "pixel_steps")


def card(**more):
    return RateCard(**{"provider": "p", "model": "m", "valid_from": 0, "input": 100, "output": 400, **more})


# ------------------------------------------------------------------------------------------------------- long prompts


LONG = (Tier(above_tokens=200, input=200), Tier(above_tokens=500, input=300, output=600, cached=30))


@pytest.mark.parametrize(
    ("tokens", "cost"),
    [
        (0, 10 * 400),
        (200, 200 * 100 + 10 * 400),
        (201, 201 * 200 + 10 * 400),
        (500, 500 * 200 + 10 * 400),
        (501, 501 * 300 + 10 * 600),
    ],
)
def test_a_long_prompt_makes_the_whole_call_dearer_from_one_token_more_on(tokens, cost):
    assert card(tiers=LONG).cost(Usage(tokens, 0, 10)) == cost


def test_cached_input_of_a_long_prompt_costs_what_its_tier_says_or_else_what_it_always_costs():
    assert card(tiers=LONG, cached=10).cost(Usage(300, 300)) == 300 * 10
    assert card(tiers=LONG).cost(Usage(300, 300)) == 300 * 200
    assert card(tiers=LONG, cached=10).cost(Usage(600, 600)) == 600 * 30


def test_the_tiers_of_other_units_are_no_tiers():
    with pytest.raises(ValueError, match="needs prices per token"):
        Tier(above_tokens=9, image=1)
    with pytest.raises(ValueError, match="at least 1"):
        Tier(above_tokens=0, input=1)


@given(cards(), usages(), st.integers(0, 5_000))
def test_a_hold_is_never_below_what_a_call_within_its_bounds_costs_however_long_its_prompt_is(rate, usage, spare):
    assert rate.hold(usage.input + spare, usage.output + spare) >= rate.cost(usage)


@given(whole_cards(), told_and_used(), st.integers(0, 5_000))
def test_whatever_a_card_is_made_of_no_usage_within_the_bounds_costs_more_than_the_hold(rate, call, spare):
    told, used = call
    hold, cost = rate.hold(used.input + spare, used.output + spare, told), rate.cost(used)
    if hold is not None and cost is not None:
        assert cost <= hold


def test_a_hold_takes_the_dearest_of_all_tiers_that_the_true_prompt_could_be_in():
    falling = card(tiers=(Tier(above_tokens=200, input=500), Tier(above_tokens=500, input=10, output=1)))
    assert falling.hold(1_000, 10) == 1_000 * 500 + 10 * 400, "longer prompts are cheaper, and this one may be short"
    assert card(tiers=(Tier(above_tokens=200, input=1),)).hold(300, 10) == 300 * 100 + 10 * 400
    thinking = card(tiers=(Tier(above_tokens=200, reasoning=900, cached=700),), discounts=(333_333,))
    assert thinking.hold(300, 10) == -(-(300 * 700 + 10 * 900) * 666_667 // 1_000_000)


def test_a_hold_fears_a_tier_that_can_be_reached_and_no_other():
    assert card(tiers=LONG).hold(500, 10) == 500 * 200 + 10 * 400
    assert card(tiers=LONG).hold(501, 10) == 501 * 300 + 10 * 600
    assert card(tiers=LONG).hold(501, None) is None


# ---------------------------------------------------------------------------------------------------------- reasoning


def test_thoughts_cost_what_they_are_sold_for_and_are_counted_once():
    assert card(reasoning=1_000).cost(Usage(10, 0, 50, 20)) == 10 * 100 + 30 * 400 + 20 * 1_000
    assert card().cost(Usage(10, 0, 50, 20)) == 10 * 100 + 50 * 400
    assert card(reasoning=1_000).hold(10, 50) == 10 * 100 + 50 * 1_000


def test_more_thoughts_than_there_is_output_are_all_of_it():
    assert card(reasoning=1_000).cost(Usage(0, 0, 50, 99)) == 50 * 1_000


# ---------------------------------------------------------------------------------------------------------- discounts


@given(cards(), usages())
def test_a_discount_is_exact_and_rounded_up_once(rate, usage):
    listed = card(**{name: getattr(rate, name) for name in ("input", "output", "cached", "reasoning", "tiers")})
    whole, share = listed.cost(usage), 1
    for discount in rate.discounts:
        share *= WHOLE - discount
    scaled, scale = rate.cost(usage) * WHOLE ** len(rate.discounts), WHOLE ** len(rate.discounts)
    assert whole * share <= scaled < whole * share + scale


def test_what_the_provider_states_is_what_it_will_bill_and_is_not_discounted():
    assert card(discounts=(HALF,)).cost(Usage(10, cost=77)) == 77


def test_a_discount_of_nothing_or_more_than_everything_is_refused():
    for discount in (0, WHOLE + 1, -1):
        with pytest.raises(ValueError, match="a discount"):
            card(discounts=(discount,))


@given(cards(), cards())
def test_cards_have_the_same_digest_where_they_are_the_same_and_come_back_as_they_were(one, other):
    assert (one.digest() == other.digest()) is (one == other)
    assert rate_card(rate_columns(one)["card"]) == one


def test_a_card_as_older_programs_wrote_it_is_still_one():
    old = '{"input":3,"output":4,"cached":null,"provider":"p","model":"m","valid_from":0,"source":""}'
    assert rate_card(old) == card(input=3, output=4)


# ----------------------------------------------------------------------------------------------------------- the book


def row(*names, **more):
    return Price(provider="p", names=names, **{"input": 100, "output": 400, **more})


def off(*names, discount, **more):
    return Price(provider="p", names=names, discount=discount, **more)


def priced(book, *, at=10, processing="live", model="m"):
    found = PriceBook(book).card("p", model, at, processing)
    return None if found is None else found.cost(Usage(1_000))


def test_a_contract_takes_a_share_off_every_list_price_and_off_no_price_of_its_own():
    book = [row("m"), row("n", input=200), off("*", discount=TENTH, priority=1), row("n", input=7, priority=2)]
    assert priced(book) == 90_000
    assert priced(book, model="n") == 7_000
    assert priced(book, model="nobody") is None


def test_a_discount_holds_from_its_day_on_and_follows_the_list_price():
    book = [row("m"), row("m", input=300, valid_from=7), off("m", discount=HALF, valid_from=5, priority=1)]
    assert [priced(book, at=day) for day in (4, 5, 6, 7)] == [100_000, 50_000, 50_000, 150_000]
    found = PriceBook(book).card("p", "m", 8)
    assert found.valid_from == 7
    assert PriceBook(book).changes("p", "m", 4) == 5
    assert PriceBook(book).changes("p", "m", 5) == 7
    assert PriceBook(book).changes("p", "m", 7) is None


def test_discounts_of_one_class_do_not_add_up():
    assert priced([row("m"), off("m", discount=HALF), off("m", discount=TENTH, valid_from=5)]) == 90_000


def test_a_row_may_have_prices_and_a_discount_of_its_own():
    assert priced([row("m", input=1_000, discount=HALF)]) == 500_000
    assert priced([row("m", discount=0)]) == 100_000


def test_a_batch_has_its_own_price_or_a_share_of_the_live_one_and_else_none():
    own, share = row("m", input=30, processing="batch"), off("m", discount=HALF, processing="batch")
    assert priced([row("m"), own], processing="batch") == 30_000
    assert priced([row("m"), own]) == 100_000
    assert priced([row("m"), share], processing="batch") == 50_000
    assert priced([row("m"), share, off("*", discount=TENTH, priority=1)], processing="batch") == 45_000
    assert (
        priced([row("m"), own, off("m", discount=TENTH, processing="batch", priority=1)], processing="batch") == 27_000
    )
    assert priced([row("m")], processing="batch") is None
    assert priced([own]) is None


def test_what_is_unpriced_is_not_made_cheap_by_a_discount():
    unknown = Price(provider="p", names=("m",), unpriced=True)
    assert priced([unknown, off("m", discount=HALF, priority=1)]) is None
    assert priced([unknown, off("m", discount=HALF, processing="batch")], processing="batch") is None
    assert priced([off("m", discount=HALF)]) is None


def test_a_card_says_where_its_discount_and_its_prices_are_from():
    book = [
        row("m", source="the list"),
        off("m", discount=HALF, source="contract 7", retrieved="2026-11-21", priority=1),
    ]
    found = PriceBook(book).card("p", "m", 0)
    assert (found.source, found.discounts) == ("contract 7, 2026-11-21; the list", (HALF,))
