"""``costs`` and ``prices``: four sums that are never mixed, and what they are made with."""

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.api.estimate import Estimate
from batchrunner.cli.confirm import describe
from batchrunner.cli.costs import add_up
from batchrunner.cli.render import exact
from batchrunner.cli.units import amounts, decimal
from batchrunner.core.usage import Usage
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
    assert "batchrunner prices set" in result.stderr


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


WIDTH = len(CostRow._fields) - 1
NUMBERS = st.lists(st.integers(0, 10**30), min_size=WIDTH, max_size=WIDTH)


@given(st.lists(NUMBERS, max_size=5))
def test_a_total_is_exact_and_mixes_no_columns(rows: list[list[int]]) -> None:
    total = add_up([CostRow(("x",), *numbers) for numbers in rows])

    assert list(total[1:]) == [sum(numbers[place] for numbers in rows) for place in range(WIDTH)]


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
        assert Decimal(price["usd_per_million_tokens"]["input"] or price["discount_percent"]) > 0


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


# ----------------------------------------------------------------------------------------------- prices of every unit


def test_the_quick_starts_models_fit_a_terminal_of_80_columns_and_keep_their_source(here: Path) -> None:
    lines = run_cli("prices", "list", "--provider", "together").stdout.splitlines()
    assert [line for line in lines if "Llama 3.3 70B Turbo" in line] == [
        " 0.88       -  0.88  always      [1]   Llama 3.3 70B Turbo",
        " 1.04       -  1.04  2026-09-01  [2]   Llama 3.3 70B Turbo",
    ]
    assert "[1] Together AI quick start, undated" in lines
    assert "[2] LiteLLM's price file and Together AI's documentation, 2026-11" in lines
    assert "less 50%  always      [4]   meta-llama/Llama-3.3-70B-Instruct-Turbo" in lines
    assert max(len(line) for line in lines if "always      [1]" in line) <= 86


def test_prices_of_other_units_are_listed_with_what_they_are_the_price_of(here: Path) -> None:
    (price,) = json.loads(run_cli("prices", "list", "--model", "flux.1-schnell", "--json").stdout)["prices"]
    shown = run_cli("prices", "list", "--model", "flux.1-schnell").stdout

    assert price["usd"] == {"megapixel": "0.0027", "steps": 4}
    assert price["usd_per_million_tokens"] == {"input": None, "cached": None, "output": None}
    assert "0.0027/MP (4 steps)" in shown


def test_a_price_can_be_shown_for_any_day(here: Path) -> None:
    facts = json.loads(run_cli("prices", "show", "deepseek-ai/DeepSeek-V3", "--on", "2026-08-31", "--json").stdout)
    now = run_cli("prices", "show", "deepseek-ai/DeepSeek-V3", "--on", "2026-09-01")

    assert facts["price"]["usd"] == {"input": "0.27", "output": "1.1"}
    assert now.exit_code == 0
    assert "1.25" in now.stdout
    assert "2026-09-01" in now.stderr


def test_a_model_without_a_price_is_said_to_be_unknown_and_not_free(here: Path) -> None:
    result = run_cli("prices", "show", NO_PRICE)

    assert result.exit_code == 2
    assert "unknown" in result.stderr
    assert json.loads(run_cli("prices", "show", NO_PRICE, "--json").stdout)["price"] is None


def test_a_price_of_your_own_is_set_in_your_file_and_wins(here: Path) -> None:
    (here / "batchrunner.toml").write_text('price_files = ["own.toml"]\n')
    (here / "own.toml").write_text("# mine\n")
    words = ("--megapixel", "0.001", "--steps", "2", "--source", "contract 7")

    result = run_cli("prices", "set", "black-forest-labs/FLUX.1-schnell", *words)

    assert result.exit_code == 0, result.stderr
    shown = json.loads(run_cli("prices", "show", "black-forest-labs/FLUX.1-schnell", "--json").stdout)["price"]
    assert shown["usd"] == {"megapixel": "0.001", "steps": 2}
    assert shown["source"].startswith("contract 7, 20")
    assert (here / "own.toml").read_text().startswith("# mine\n")


def test_of_a_price_file_that_nobody_reads_it_is_said_how_to_have_it_read(here: Path) -> None:
    made = run_cli("prices", "set", "m", "--minute", "0.006", "--file", "p.toml")

    assert made.exit_code == 0
    assert 'price_files = ["p.toml"]' in made.stderr
    assert 'hour = "0.36"' in (here / "p.toml").read_text()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--input", "cheap"), "decimal number"),
        (("--minute", "1", "--hour", "60"), "one price too many"),
        (("--image", "1", "--megapixel", "1"), "billed once"),
        (("--steps", "4", "--input", "1"), "steps"),
        ((), "has no price"),
    ],
)
def test_a_price_that_can_not_be_is_not_written(here: Path, words: tuple[str, ...], why: str) -> None:
    result = run_cli("prices", "set", "m", "--file", "p.toml", *words)

    assert result.exit_code == 2
    assert why in result.stderr
    assert not (here / "p.toml").exists()


def test_a_price_file_of_litellm_is_imported_once(here: Path) -> None:
    (here / "batchrunner.toml").write_text('price_files = ["own.toml"]\n')
    (here / "own.toml").write_text("")
    entries = {
        "gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05,
                   "cache_read_input_token_cost": 1.25e-06},
        "whisper-2": {"litellm_provider": "openai", "input_cost_per_second": 2e-04, "output_cost_per_second": 2e-04},
        "gpt-6": {"litellm_provider": "openai", "input_cost_per_token_above_9k_tokens": 2e-04},
    }  # fmt: skip
    (here / "ll.json").write_text(json.dumps(entries))

    first = run_cli("prices", "import", "ll.json")
    again = run_cli("prices", "import", "ll.json")

    assert first.exit_code == again.exit_code == 0, first.stderr
    assert "whisper-2" in first.stdout
    assert "gpt-4o" not in first.stdout, "the price book has it already"
    assert "charged once" in first.stderr
    assert "1 entry taken in as unpriced: has a price for long prompts, and none for others" in first.stderr
    assert "nothing was written" in again.stderr
    assert (here / "own.toml").read_text().count("[[price]]") == 1


def test_an_import_that_finds_nothing_of_its_provider_says_so(here: Path) -> None:
    (here / "theirs.toml").write_text('[[price]]\nprovider = "acme"\nnames = ["x"]\nsearch = "0.002"\n')
    ended = run_cli("prices", "import", "theirs.toml", "--file", "own.toml")
    assert "there is no price of openai, together in theirs.toml: nothing was written" in ended.stderr.replace(
        "together, openai", "openai, together"
    )


def test_another_price_file_is_imported_too(here: Path) -> None:
    (here / "theirs.toml").write_text('[[price]]\nprovider = "together"\nnames = ["acme/x"]\nsearch = "0.002"\n')

    result = run_cli("prices", "import", "theirs.toml", "--file", "own.toml")

    assert result.exit_code == 0, result.stderr
    assert 'search = "0.002"' in (here / "own.toml").read_text()


# ---------------------------------------------------------------------------------------------- costs in every unit


UNITS = {"images": 12, "pixels": 12_582_912, "milliseconds": 5_400_000, "characters": 12_345, "searches": 7}


def test_costs_show_columns_for_the_units_that_were_used_and_for_no_others(worked: Path) -> None:
    plain = run_cli("costs", "--by", "endpoint").stdout
    with closing(sqlite3.connect(worked / "batchrunner.db")) as connection, connection:
        sets = ", ".join(f"{name} = {amount}" for name, amount in UNITS.items())
        connection.execute(f"UPDATE totals SET {sets} WHERE endpoint = '/v1/embeddings'")

    shown = run_cli("costs", "--by", "endpoint").stdout
    rows = {row["endpoint"]: row for row in costs("--by", "endpoint")["rows"]}

    assert "MP" not in plain
    assert all(word in shown for word in ("images", "MP", "minutes", "characters", "searches", "12.6", "90.0", "12.3k"))
    assert "audio in" not in shown
    assert rows["/v1/embeddings"]["units"] == {
        "images": 12, "pixels": 12_582_912, "seconds": "5400", "characters": 12_345, "searches": 7,
        "audio_input_tokens": 0, "audio_output_tokens": 0, "image_input_tokens": 0, "image_output_tokens": 0,
    }  # fmt: skip
    assert rows["/v1/chat/completions"]["units"]["images"] == 0


def test_the_estimate_before_a_run_says_what_is_known_of_units() -> None:
    def said(**given: Any) -> str:
        facts = {"requests": 2, "input_tokens": 0, "output_tokens": 0, "likely": 5, "high": None, "unpriced": ()}
        return describe(Estimate(**{**facts, **given}))

    pictures = Usage(images=8, pixels=8_388_608)
    assert said(units=pictures).startswith("2 requests, 8 pictures (8.4 MP), likely")
    assert said(units=pictures, input_tokens=9).startswith("2 requests, about 9 tokens in, 0 out, 8 pictures (8.4 MP)")
    assert said().startswith("2 requests, about 0 tokens in, 0 out, likely")


def test_what_is_asked_for_is_said_in_words() -> None:
    asked = Usage(images=1, pixels=1_048_576, milliseconds=90_000, characters=20_000, searches=2)
    assert list(amounts(asked)) == [
        "1 picture (1.0 MP)", "1.5 min of sound or film", "20k characters to speak", "2 searches",
    ]  # fmt: skip
    assert list(amounts(Usage(9, 0, 9))) == []
    assert decimal(1, 10**6) == "<0.1"
