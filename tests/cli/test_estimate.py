"""``estimate``: a file, a job, and rows that are run for real, which are asked for first and never paid twice."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batchrunner.api import Estimate, LaneEstimate, Outlook, Range
from batchrunner.api.lanecost import NOTHING
from batchrunner.cli.confirm import describe
from batchrunner.cli.estimate import notes
from batchrunner.core.clock import SystemClock
from batchrunner.core.expected import Expected
from batchrunner.core.pricing import PICO
from batchrunner.core.request import Lane
from batchrunner.formats.pricefile import load_prices
from tests.cli.conftest import CHAT, EMBED, HOSTILE, NO_PRICE, ROWS, chat, provider, run_cli, write

NOT_EXPECTED = Expected(0, *[0.0] * 5)


def price(tokens_in: int, tokens_out: int) -> Decimal:
    """Dollars by today's card of the model."""
    card = load_prices(()).card("together", CHAT, SystemClock().now())
    assert card is not None
    return Decimal(card.input * tokens_in + card.output * tokens_out) / PICO


def estimate(*words: str, exit_code: int = 0, **given: Any) -> dict[str, Any]:
    result = run_cli("estimate", *words, "--json", **given)
    assert result.exit_code == exit_code, result.stderr
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts


def jobs(here: Path, rows: int = 60) -> Path:
    return write(here / "some.jsonl", [chat(f"r-{i}", "word " * (5 + i % 40)) for i in range(rows)])


def test_a_file_is_estimated_and_nothing_is_stored(here: Path) -> None:
    jobs(here)
    facts = estimate("some.jsonl")
    assert (facts["schema"], facts["requests"], facts["job"]) == ("batchrunner.estimate/1", 60, None)
    assert facts["tokens"]["output"] == {"low": 0, "likely": 60 * 16 // 4, "high": 60 * 16}
    given = facts["tokens"]["input"]
    assert (given["low"], given["high"]) == (given["likely"] // 2, given["likely"] * 4)
    assert Decimal(facts["usd"]["high"]) == price(given["high"], 60 * 16)
    assert not (here / "batchrunner.db").exists()


def test_a_file_and_its_job_have_the_same_estimate(here: Path) -> None:
    write(here / "mixed.jsonl", ROWS)
    of_file = estimate("mixed.jsonl")
    assert run_cli("load", "mixed.jsonl").exit_code == 0
    of_job = estimate("mixed")
    assert estimate("mixed.jsonl") == of_job, "the file is known by what it is"
    for facts in (of_file, of_job):
        facts.pop("job"), facts.pop("name")
        facts["by_model"].sort(key=lambda each: each["model"])
    assert of_file == of_job
    assert of_file["unpriced_models"] == [NO_PRICE]


def test_a_file_that_changed_since_it_was_loaded_is_looked_at_anew(queued: Path) -> None:
    write(queued / "mixed.jsonl", ROWS[:2])
    assert (estimate("mixed.jsonl")["requests"], estimate("mixed")["requests"]) == (2, 6)


def test_limits_that_are_set_tell_how_long_it_takes_at_least(here: Path) -> None:
    jobs(here)
    facts = estimate("some.jsonl", "--rpm", "30")
    assert (facts["seconds"], facts["bound_by"]) == ({"low": 120.0, "likely": None, "high": None}, "rpm")
    assert estimate("some.jsonl")["seconds"] is None


def test_what_is_no_file_and_no_job_is_a_usage_error_and_bad_lines_an_input_error(here: Path) -> None:
    assert run_cli("estimate", "nothing.jsonl").exit_code == 2
    (here / "bad.jsonl").write_text('{"custom_id": 1}\n')
    assert run_cli("estimate", "bad.jsonl").exit_code == 5


def test_nothing_is_sent_before_the_sample_was_confirmed(here: Path) -> None:
    jobs(here)
    with provider() as env:
        result = run_cli("estimate", "some.jsonl", "--sample", "20", env=env)
        assert result.exit_code == 2
        assert "spending was not confirmed: 20 requests" in result.stderr
        assert json.loads(run_cli("costs", "--json").stdout)["total"]["calls"] == 0


def test_a_sample_is_run_and_kept_and_its_job_goes_on_without_it(here: Path) -> None:
    jobs(here)
    with provider(mean_output_tokens=8) as env:
        facts = estimate("some.jsonl", "--sample", "20", "--yes", "--progress", "none", env=env)
        ran = json.loads(run_cli("costs", "--json").stdout)["total"]
        assert run_cli("run", "some.jsonl", "--yes", "--progress", "none", env=env).exit_code == 0
        total = json.loads(run_cli("costs", "--json").stdout)["total"]
        nothing = run_cli("estimate", "some", "--sample", "20", "--yes", env=env)
    assert (facts["method"], facts["confidence"], facts["requests"]) == ("sampled", 0.9, 60)
    sample = facts["sample"]
    assert [sample[name] for name in ("rows", "succeeded", "failed", "unfinished", "unknown")] == [20, 20, 0, 0, 0]
    assert (sample["usd"]["recorded"], ran["calls"]) == (ran["usd"]["recorded"], 20)
    assert total["calls"] == 60, "none was asked for twice"
    low, likely, high = (Decimal(facts["usd"][end]) for end in ("low", "likely", "high"))
    assert Decimal(sample["usd"]["recorded"]) < low < likely < high < Decimal(sample["usd_with_unseen_rows"])
    assert low <= Decimal(total["usd"]["recorded"]) <= high
    assert facts["seconds"]["low"] > 0
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "nothing is queued" in nothing.stderr


def test_two_rows_tell_no_interval_and_nothing_of_rows_that_were_not_drawn(here: Path) -> None:
    jobs(here)
    with provider(mean_output_tokens=8) as env:
        facts = estimate("some.jsonl", "--sample", "2", "--yes", "--progress", "none", env=env)
    assert facts["usd"]["high"] == facts["sample"]["estimated_before"]["high"]
    assert facts["sample"]["usd_with_unseen_rows"] is None


def test_a_sample_of_all_rows_is_exact_and_failures_are_its_exit_code(here: Path) -> None:
    write(here / "mixed.jsonl", ROWS)
    with provider(poison="an-evil-word") as env:
        facts = estimate("mixed.jsonl", "--sample", "99", "--yes", "--progress", "none", env=env, exit_code=3)
    total = json.loads(run_cli("costs", "--json").stdout)["total"]["usd"]
    cost = str(Decimal(total["recorded"]) + Decimal(total["estimated"]))
    assert facts["usd"] == {"low": cost, "likely": cost, "high": cost}
    assert (facts["sample"]["succeeded"], facts["sample"]["failed"], facts["sample"]["unpriced_calls"]) == (4, 2, 1)
    assert facts["unpriced_models"] == [NO_PRICE]


def test_a_sample_of_which_nothing_came_back_says_so_with_the_code_of_its_run(here: Path) -> None:
    jobs(here)
    with provider(api_key="good") as env:
        result = run_cli("estimate", "some.jsonl", "--sample", "5", "--yes", env={**env, "TOGETHER_API_KEY": "bad"})
    assert (result.exit_code, result.stdout) == (6, "")
    assert "tell nothing" in result.stderr
    assert estimate("some")["requests"] == 60


def test_the_table_says_how_its_figures_are_known_and_no_name_steers_the_terminal(here: Path) -> None:
    write(here / "odd.jsonl", [chat("a", "b", HOSTILE), chat("c", "d", CHAT)])
    result = run_cli("estimate", "odd.jsonl")
    assert [line.split()[0] for line in result.stdout.splitlines()[2:]] == [
        "requests", "tokens", "tokens", "cost", "time",
    ]  # fmt: skip
    for words in ("guessed by their bytes", "likely a guess", "no price for", "time: unknown"):
        assert words in result.stderr
    assert "--sample" not in result.stderr, "it would run both rows"
    jobs(here)
    assert "batchrunner estimate some.jsonl --sample 50" in run_cli("estimate", "some.jsonl").stderr
    assert not set("\x1b\x9b\u202e") & set(result.stdout + result.stderr)


def unbounded(custom_id: str, text: str) -> dict[str, Any]:
    row = chat(custom_id, text)
    del row["body"]["max_tokens"]
    return row


def test_each_request_without_a_bound_counts_in_a_file_and_in_the_queue(here: Path) -> None:
    write(here / "free.jsonl", [unbounded(f"r-{i}", "word") for i in range(7)])
    assert run_cli("load", "free.jsonl").exit_code == 0
    assert estimate("free")["tokens"]["output"] == {"low": 0, "likely": 7 * 512, "high": None}
    assumed = estimate("free", "--assume-output", "4k")
    assert assumed["tokens"]["output"]["high"] == 7 * 4_000
    assert assumed["usd"]["high"] is not None


def test_a_file_is_its_job_only_with_the_options_that_it_was_loaded_with(here: Path) -> None:
    jobs(here)
    assert run_cli("load", "some.jsonl").exit_code == 0
    assert estimate("some.jsonl")["job"]["id"] == 1
    other = estimate("some.jsonl", "--set", "max_tokens=4")
    assert (other["job"], other["tokens"]["output"]["high"]) == (None, 60 * 4)


def test_data_is_estimated_with_its_template_and_without_one_it_is_said_what_to_do(here: Path) -> None:
    (here / "d.csv").write_text("a\none\ntwo\n")
    (here / "p.jinja").write_text("Say {{ a }}.")
    refused = run_cli("estimate", "d.csv")
    assert refused.exit_code == 5
    assert "batchrunner estimate d.csv --template prompt.jinja" in refused.stderr
    more = ("--template", "p.jinja", "--model", CHAT, "--set", "max_tokens=9")
    facts = estimate("d.csv", *more)
    assert (facts["requests"], facts["tokens"]["output"]["high"], facts["job"]) == (2, 18, None)
    assert not (here / "batchrunner.db").exists()
    bad = run_cli("estimate", "d.csv", "--template", "p.jinja")
    assert (bad.exit_code, "d.csv:2" in bad.stderr) == (5, True)


def test_a_corpus_tells_the_room_that_its_vectors_will_take(here: Path) -> None:
    (here / "t.txt").write_text("one\ntwo\nthree\n")
    assert run_cli("embed", "t.txt", "-o", "v.parquet", "--model", EMBED, env={"TOGETHER_API_KEY": "k"}).exit_code == 2
    assert estimate("v")["vector_bytes"] == {"database": 3 * 768 * 4, "export": 3 * 768 * 4}
    assert "vectors: at most 1 MiB more in the database" in run_cli("estimate", "v").stderr


def test_a_budget_that_will_not_suffice_is_named_before_anything_is_bought(here: Path) -> None:
    jobs(here)
    likely, high = (Decimal(estimate("some.jsonl")["usd"][end]) for end in ("likely", "high"))
    for cap, suffices in ((likely / 2, "probably not"), ((likely + high) / 2, "perhaps")):
        (told,) = estimate("some.jsonl", "--max-cost", f"{cap:.6f}")["budgets"]
        assert (told["name"], told["suffices"]) == ("--max-cost", suffices)
    assert estimate("some.jsonl", "--max-cost", f"{high:.6f}1")["budgets"] == []
    with provider() as env:
        result = run_cli("run", "some.jsonl", "--max-cost", f"{likely / 2:.6f}", "--progress", "none", env=env)
    assert result.exit_code == 4
    assert "which will probably not suffice" in result.stderr
    assert run_cli("budget", "set", f"{likely:.6f}", "--job", "some").exit_code == 0
    (told,) = estimate("some")["budgets"]
    spent = Decimal(json.loads(run_cli("costs", "--json").stdout)["total"]["usd"]["recorded"])
    assert (told["name"], Decimal(told["usd"]["left"])) == ("job 1", Decimal(f"{likely:.6f}") - spent)


def test_a_sample_keeps_to_what_it_may_cost_and_asks_nothing_then(here: Path) -> None:
    jobs(here)
    with provider(mean_output_tokens=8) as env:
        facts = estimate(
            "some.jsonl", "--sample", "20", "--max-cost", "0.0004", "--progress", "none", env=env, exit_code=4
        )
    sample = facts["sample"]
    assert (0 < sample["succeeded"] < 20, sample["unfinished"]) == (True, 20 - sample["succeeded"])
    assert Decimal(sample["usd"]["recorded"]) <= Decimal("0.0004")


def test_who_is_asked_is_told_what_for_even_where_all_is_quiet(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchrunner.cli.confirm.interactive", lambda _: True)
    write(here / "free.jsonl", [unbounded("r", "word")])
    asked = run_cli("run", "free.jsonl", "-q", env={"TOGETHER_API_KEY": "k"}, stdin="n\n")
    assert asked.exit_code == 2
    assert "no upper bound\nSpend it?" in asked.stderr
    write(here / "dark.jsonl", [chat("r", "word", NO_PRICE)])
    asked = run_cli("run", "dark.jsonl", env={"TOGETHER_API_KEY": "k"}, stdin="n\n")
    assert f"cost unknown: no price for {NO_PRICE}\nSpend it?" in asked.stderr
    jobs(here)
    assert run_cli("budget", "set", "0.0001").exit_code == 0
    with provider() as env:
        small = run_cli("run", "some.jsonl", "--progress", "none", env=env)
    assert "Spend it?" not in small.stderr, "below a dollar nobody is asked"
    assert "budget all: $0.0001 left, which will probably not suffice" in small.stderr
    assert small.exit_code == 4


def test_what_surely_costs_nothing_is_not_to_be_confirmed(here: Path) -> None:
    (here / "free.toml").write_text('[[price]]\nprovider = "together"\nnames = ["m"]\ninput = "0"\noutput = "0"\n')
    assert run_cli("prices", "import", "free.toml", "--in-db").exit_code == 0
    write(here / "free.jsonl", [chat("r", "word", "m")])
    with provider() as env:
        assert run_cli("run", "free.jsonl", "--progress", "none", env=env).exit_code == 0


def test_what_goes_on_is_told_apart_and_a_sound_of_unknown_length_is_in_no_sum(here: Path) -> None:
    lane = LaneEstimate(Lane(1, "p", "m"), 3, "guessed", NOTHING, NOTHING, Range(0, 0, None), NOT_EXPECTED, untold=True)
    found = Estimate(
        requests=3, input_tokens=0, output_tokens=0, likely=0, high=None, unpriced=(), lanes=(lane,), going_on=2
    )
    said = describe(found)
    assert said.startswith("3 requests (2 of them bought before)")
    assert said.endswith("plus what m will cost, which no request tells")
    told = " ".join(notes(Outlook(name="j", job=None, estimate=found, time=None)))
    assert "in no sum: m, where requests do not tell how much" in told
    assert "bought before, and at no further cost: 2 requests" in told
