"""From an outcome to its cost, in every unit."""

import pytest

from batchrunner.core.attempt import Billing, Failure, FailureKind, Reply, Use
from batchrunner.core.pricing import RateCard
from batchrunner.core.request import Head, Opening
from batchrunner.core.retry import GiveUp, Succeed
from batchrunner.core.usage import Usage, UsageFrom, units_text
from batchrunner.endpoints.registry import CHAT, RERANK
from batchrunner.runner.settle import close, estimate_usage

ASKED = Usage(images=4, pixels=4_000_000, pixel_steps=32_000_000)
SCHNELL = RateCard(provider="p", model="m", valid_from=0, megapixel=2_700_000_000, steps=4)
BODY = b'{"choices":[{"message":{"content":"yes, of course"},"finish_reason":"stop"}]}'


def head(units: Usage | None = None, *, max_out: int | None = 0) -> Head:
    return Head(1, 1, 1, "/v1/x", None, 0, 0, 0, 50, max_out, b"d" * 16, units_text(units))


def settled(usage: Usage | None, asked: Usage | None = None, card: RateCard | None = SCHNELL):
    reply = Reply(200, BODY, usage)
    row = head(asked)
    estimate = estimate_usage(reply, row, RERANK, 60) if usage is None or asked else None
    return close(
        7, Opening(row, 1, 1, 9), reply, Succeed(), card=card, estimate=estimate, ended=2, ttfb=0.5
    )  # fmt: skip


def test_pictures_without_usage_cost_what_was_asked_for_and_are_marked_as_estimated():
    closing = settled(None, ASKED)
    assert (closing.usage, closing.usage_from) == (ASKED, UsageFrom.ESTIMATED)
    assert closing.cost == 4 * 2 * 2_700_000_000


def test_only_the_pictures_that_came_cost_anything():
    closing = settled(Usage(images=3), ASKED)
    assert closing.usage == Usage(images=3, pixels=3_000_000, pixel_steps=24_000_000)
    assert (closing.cost, closing.usage_from) == (3 * 2 * 2_700_000_000, UsageFrom.ESTIMATED)


def test_pictures_whose_tokens_the_provider_counted_are_its_own_usage():
    usage = Usage(50, 0, 4_000, images=4)
    closing = settled(usage, ASKED, RateCard(provider="p", model="m", valid_from=0, input=5, output=40))
    assert (closing.usage, closing.usage_from) == (usage, UsageFrom.PROVIDER)
    assert closing.cost == 50 * 5 + 4_000 * 40


def test_tokens_of_pictures_are_never_guessed():
    closing = settled(None, ASKED, RateCard(provider="p", model="m", valid_from=0, input=5, output=40))
    assert (closing.usage, closing.cost) == (ASKED, None)


def test_what_a_provider_states_is_the_cost_with_and_without_a_card():
    for card in (SCHNELL, None):
        closing = settled(Usage(milliseconds=5_000, cost=280_000_000_000), None, card)
        assert (closing.cost, closing.usage_from) == (280_000_000_000, UsageFrom.PROVIDER)


def test_a_ranking_without_usage_is_one_search_and_its_estimated_tokens():
    closing = settled(None, Usage(searches=1))
    assert closing.usage == Usage(60, searches=1)
    counted = settled(Usage(37, searches=1), Usage(searches=1))
    assert (counted.usage, counted.usage_from) == (Usage(37, searches=1), UsageFrom.PROVIDER)


def test_a_text_without_usage_is_estimated_by_its_tokens():
    assert estimate_usage(Reply(200, BODY, None), head(max_out=None), CHAT, 60) == Usage(60, 0, 4)


@pytest.mark.parametrize("billing", Billing)
def test_a_refusal_has_no_cost_but_one_that_was_billed_and_counted(billing):
    failure = Failure(FailureKind.BAD_REPLY, "no", billing, usage=Usage(images=1, pixels=10**6))
    closing = close(
        7, Opening(head(ASKED), 1, 1, 9), failure, GiveUp(FailureKind.BAD_REPLY), card=SCHNELL, estimate=None,
        ended=2, ttfb=0.5,
    )  # fmt: skip
    assert closing.cost == (2_700_000_000 if billing is Billing.BILLED else None)
    assert closing.use is Use.WASTED
