"""The price book on the command line: where prices are put, what is taken in, and what is found missing."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CHAT, NO_PRICE, provider, run_cli

GPT = "openai/gpt-oss-20b"


def shown(model: str, *words: str) -> Any:
    result = run_cli("prices", "show", model, "--json", *words)
    return json.loads(result.stdout)["price"]


def said(*words: str, code: int = 0, **more: Any) -> Any:
    result = run_cli("prices", *words, **more)
    assert result.exit_code == code, result.stderr
    return result


def test_without_a_price_file_a_price_is_kept_in_the_database_and_wins(here: Path) -> None:
    result = said("set", GPT, "--input", "0.04", "--output", "0.16", "--source", "contract 7")

    assert "1 entry added to batchrunner.db" in result.stderr.replace(str(here) + "/", "")
    assert shown(GPT)["usd"] == {"input": "0.04", "output": "0.16"}
    said("set", GPT, "--input", "0.05", "--output", "0.16")
    assert shown(GPT)["usd"]["input"] == "0.05", "the newer one counts"


def test_the_database_stands_above_the_files(here: Path) -> None:
    (here / "batchrunner.toml").write_text('price_files = ["own.toml"]\n')
    (here / "own.toml").write_text("")
    said("set", GPT, "--input", "0.01", "--output", "1")
    said("set", GPT, "--input", "0.02", "--output", "1", "--in-db")

    assert "0.01" in (here / "own.toml").read_text()
    assert shown(GPT)["usd"]["input"] == "0.02"
    assert said("set", GPT, "--input", "1", "--in-db", "--file", "x.toml", code=2)


def test_a_contract_takes_a_share_off_from_its_day_on(here: Path) -> None:
    said("set", "*", "--discount", "12.5", "--from", "2026-12-01", "--source", "contract 7")

    assert "discounts" not in shown(GPT, "--on", "2026-11-30")["usd"]
    later = shown(GPT, "--on", "2026-12-01")
    assert later["usd"] == {"input": "0.05", "output": "0.2", "discounts": ["12.5"]}
    assert later["source"].startswith("contract 7")
    table = said("show", GPT, "--on", "2026-12-01").stdout
    assert "12.5%" in table
    (row,) = json.loads(said("list", "--model", "*", "--json").stdout)["prices"][-1:]
    assert (row["discount_percent"], row["class"], row["own"]) == ("12.5", "live", True)


def test_long_prompts_and_batches_have_prices_of_their_own(here: Path) -> None:
    said("set", "acme/long", "--input", "1.25", "--output", "10", "--above", "200k:input=2.5,output=15")
    said("set", "acme/long", "--class", "batch", "--discount", "50")

    usd = {"input": "1.25", "output": "10", "above": [{"tokens": 200_000, "input": "2.5", "output": "15"}]}
    assert shown("acme/long")["usd"] == usd
    assert shown("acme/long", "--class", "batch")["usd"] == {**usd, "discounts": ["50"]}
    assert "input above 200,000" in said("show", "acme/long").stdout
    listing = said("list", "--model", "acme/long").stdout
    assert "above 200,000 in the prompt: input 2.5 output 15" in listing
    assert "less 50%" in listing


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--above", "200k", "--input", "1"), "--above is written as"),
        (("--above", "200k:input", "--input", "1"), "--above is written as"),
        (("--above", "200k:smiles=3", "--input", "1"), "smiles"),
        (("--discount", "101"), "percentage"),
        (("--discount", "5", "--above", "9:input=1"), "what long prompts cost stands beside"),
    ],
)
def test_terms_that_can_not_be_are_not_written(here: Path, words: tuple[str, ...], why: str) -> None:
    result = said("set", "m", *words, code=2)

    assert why in result.stderr
    assert not (here / "batchrunner.db").exists()


# ------------------------------------------------------------------------------------------------- a provider's prices


def test_what_a_provider_lists_is_taken_in_from_today_on_where_it_differs(here: Path) -> None:
    with provider() as env:
        said("set", GPT, "--input", "9", "--output", "9", "--from", "2026-01-01")
        first = said("import", "--models", env=env)
        again = said("import", "--models", env=env)

    assert GPT in first.stdout
    assert CHAT not in first.stdout, "the price book has it already"
    assert "without a price for tokens" in first.stderr, "pictures and sound"
    assert shown(GPT)["usd"] == {"input": "0.05", "output": "0.2"}
    assert shown(GPT, "--on", "2026-02-01")["usd"]["input"] == "9", "what it lists today says nothing of last winter"
    assert shown("openai/whisper-large-v3")["usd"] == {"hour": "0.09"}
    assert "nothing was written" in again.stderr


def test_a_provider_that_refuses_adds_nothing(here: Path) -> None:
    with provider(api_key="right") as env:
        result = run_cli("prices", "import", "--models", env={**env, "TOGETHER_API_KEY": "wrong"})

    assert result.exit_code == 6
    assert not (here / "batchrunner.db").exists()


def test_an_import_is_of_a_file_or_of_a_catalogue(here: Path) -> None:
    assert "give a FILE" in said("import", code=2).stderr
    assert "give a FILE" in said("import", "x.json", "--models", code=2).stderr


def test_long_prompts_and_batches_of_litellms_file_are_imported_once(here: Path) -> None:
    entry = {
        "litellm_provider": "openai", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-05,
        "input_cost_per_token_above_200k_tokens": 2e-06, "input_cost_per_token_batches": 5e-07,
    }  # fmt: skip
    (here / "ll.json").write_text(json.dumps({"gpt-9": entry}))

    said("import", "ll.json")

    assert shown("gpt-9", "--provider", "openai")["usd"]["above"] == [{"tokens": 200_000, "input": "2"}]
    assert shown("gpt-9", "--provider", "openai", "--class", "batch")["usd"] == {"input": "0.5"}
    assert "2 prices read, all of them known: nothing was written" in said("import", "ll.json").stderr


# --------------------------------------------------------------------------------------------------------------- check


def test_check_names_the_models_that_are_used_and_have_no_price(worked: Path) -> None:
    result = said("check", code=2)
    facts = json.loads(said("check", "--json", code=2).stdout)

    assert NO_PRICE in result.stdout
    assert CHAT not in result.stdout
    assert f"1 model of 3 without a price: {NO_PRICE}" in result.stderr
    (row,) = facts["unpriced"]
    assert (row["model"], row["calls_of_unknown_cost"], row["priced_now"]) == (NO_PRICE, 1, False)
    assert row["why"] == "no entry fits it"


def test_check_is_content_once_there_is_a_price_and_still_tells_of_the_calls_before(worked: Path) -> None:
    said("set", NO_PRICE, "--input", "1", "--output", "1", "--from", "2026-12-01")
    now = json.loads(run_cli("prices", "check", "--json").stdout)["unpriced"]
    said("set", NO_PRICE, "--input", "1", "--output", "1")
    after = json.loads(said("check", "--json").stdout)["unpriced"]

    assert [row["why"] for row in now] == ["its price begins later"]
    assert [(row["priced_now"], row["calls_of_unknown_cost"]) for row in after] == [(True, 1)]
    assert "3 models used, each of them has a price" in said("check").stderr


def test_check_of_no_database_says_so(here: Path) -> None:
    assert "there is no database" in said("check", code=74).stderr
