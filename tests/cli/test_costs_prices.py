"""``costs`` and ``prices``: four sums that are never mixed, and what they are made with."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.cli.costs import add_up
from batchrunner.cli.render import exact
from batchrunner.store.base import CostRow
from tests.cli.conftest import CHAT, EMBED, NO_PRICE, run_cli

SUMS = ("recorded", "estimated", "possibly_billed", "wasted")


def costs(*words: str) -> dict:
    result = run_cli("costs", *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_the_sums_are_of_four_kinds_and_unknown_is_none_of_them(worked: Path) -> None:
    rows = {row["model"]: row for row in costs("--by", "model")["rows"]}

    assert Decimal(rows[CHAT]["usd"]["recorded"]) > 0
    assert Decimal(rows[CHAT]["usd"]["estimated"]) == 0
    assert Decimal(rows[EMBED]["usd"]["recorded"]) == 0  # Together's embeddings come without usage
    assert Decimal(rows[EMBED]["usd"]["estimated"]) > 0
    assert rows[NO_PRICE]["unpriced_calls"] == 1
    assert all(Decimal(amount) == 0 for amount in rows[NO_PRICE]["usd"].values())


def test_what_has_no_price_is_shown_as_unpriced_and_never_as_free(worked: Path) -> None:
    result = run_cli("costs", "--by", "model")

    (line,) = [line for line in result.stdout.splitlines() if line.startswith(NO_PRICE)]
    assert "unpriced" in line
    assert "$" not in line
    assert "price_files" in result.stderr


@pytest.mark.parametrize("slices", [(), ("model",), ("day", "endpoint"), ("job", "provider", "account")])
def test_every_slicing_adds_up_to_the_same_total(worked: Path, slices: tuple[str, ...]) -> None:
    whole = costs()["total"]

    facts = costs(*(word for name in slices for word in ("--by", name)))

    assert facts["by"] == list(slices)
    assert facts["total"] == whole
    for name in SUMS:
        assert sum(Decimal(row["usd"][name]) for row in facts["rows"]) == Decimal(whole["usd"][name])


def test_slices_may_be_separated_by_commas(worked: Path) -> None:
    assert costs("--by", "day,endpoint") == costs("--by", "day", "--by", "endpoint")


def test_an_unknown_slice_is_a_usage_error_that_lists_them(worked: Path) -> None:
    result = run_cli("costs", "--by", "moon")

    assert result.exit_code == 2
    assert "endpoint" in result.stderr


def test_one_job_can_be_asked_for(worked: Path) -> None:
    assert costs("mixed")["total"] == costs()["total"]
    assert costs("mixed")["job"]["name"] == "mixed"


def test_the_legend_is_talk_and_not_data(worked: Path) -> None:
    result = run_cli("costs", "--by", "model")

    assert "possibly billed:" in result.stderr
    assert "possibly billed:" not in result.stdout
    assert result.stdout.splitlines()[-1].startswith("total")


NUMBERS = st.lists(st.integers(0, 10**30), min_size=11, max_size=11)


@given(st.lists(NUMBERS, max_size=5))
def test_a_total_is_exact_and_mixes_no_columns(rows: list[list[int]]) -> None:
    total = add_up([CostRow(("x",), *numbers) for numbers in rows])

    assert list(total[1:]) == [sum(numbers[place] for numbers in rows) for place in range(11)]


@given(st.integers(0, 10**30))
def test_money_as_text_has_every_digit(pico: int) -> None:
    text = exact(pico)

    assert text is not None
    assert Fraction(text) * 10**12 == pico
    assert text == "0" or not text.endswith((".", "0")) or "." not in text


def test_prices_show_source_and_day(here: Path) -> None:
    facts = json.loads(run_cli("prices", "list", "--model", "llama-3.3-70b", "--json").stdout)

    assert facts["schema"] == "batchrunner.prices/1"
    assert facts["prices"]
    for price in facts["prices"]:
        assert "llama-3.3-70b" in price["model"].casefold()
        assert price["source"]
        assert price["own"] is False
        assert Decimal(price["usd_per_million_tokens"]["input"]) > 0


def test_prices_can_be_of_one_provider(here: Path) -> None:
    facts = json.loads(run_cli("prices", "list", "--provider", "together", "--json").stdout)
    none = json.loads(run_cli("prices", "list", "--provider", "nobody", "--json").stdout)

    assert {price["provider"] for price in facts["prices"]} == {"together"}
    assert none["prices"] == []


def test_prices_of_your_own_are_marked(here: Path) -> None:
    own = '[[price]]\nprovider = "together"\nnames = ["mine"]\ninput = "0.123456"\nvalid_from = 2026-01-02\n'
    (here / "own.toml").write_text(own)
    (here / "batchrunner.toml").write_text('price_files = ["own.toml"]\n')

    (price,) = json.loads(run_cli("prices", "list", "--model", "mine", "--json").stdout)["prices"]

    assert price["own"] is True
    assert price["usd_per_million_tokens"]["input"] == "0.123456"
    assert price["valid_from"] == "2026-01-02"
    assert "0.123456" in run_cli("prices", "list", "--model", "mine").stdout
