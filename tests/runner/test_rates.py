"""What is set aside for a call: its worst case by the card of its lane, and nothing where nobody knows it."""

from types import SimpleNamespace
from typing import Any

import pytest

from batchrunner.core.estimate import upper
from batchrunner.core.pricing import RateCard
from batchrunner.core.request import Head
from batchrunner.runner.rates import opening

NOW = 1_795_000_000_000_000


def lane(*, most_out: int | None = None, **prices: Any) -> Any:
    return SimpleNamespace(rate=(7, RateCard(provider="p", model="m", valid_from=0, **prices)), most_out=most_out)


def head(est_in: int, max_out: int | None, endpoint: str = "/v1/chat/completions") -> Head:
    return Head(1, 1, 1, endpoint, None, 0, 0, 0, est_in, max_out, b"")


@pytest.mark.parametrize(("max_out", "most_out", "counted"), [(10, None, 10), (10, 99, 10), (None, 99, 99), (0, 99, 0)])
def test_a_prompt_may_have_more_tokens_than_it_seems_and_an_answer_as_many_as_it_may_have(
    max_out: int | None, most_out: int | None, counted: int
) -> None:
    found = opening(lane(input=3, output=5, most_out=most_out), head(100, max_out), NOW)
    assert (found.rate_id, found.hold) == (7, 3 * upper(100) + 5 * counted)
    assert upper(100) > 100


def test_an_answer_without_a_bound_and_a_call_whose_input_nobody_sized_have_no_worst_case() -> None:
    prices = lane(input=3, output=5)
    assert opening(prices, head(100, None), NOW).hold is None
    assert opening(prices, head(0, 10), NOW).hold is None, "sound of unknown length, say: that is not 0 tokens"
    assert opening(lane(input=3, output=5, assumed=True), head(9, 10, "/v2/videos"), NOW).hold is None
    assert opening(SimpleNamespace(rate=None, most_out=None), head(9, 10), NOW)[2:] == (None, None)  # type: ignore[arg-type]
