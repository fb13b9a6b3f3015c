"""``budget``, and ``run`` under a cap: what is said, what is refused, and with which code it ends."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import chat, provider, run_cli


@pytest.fixture
def chats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(chat(f"row-{n}", f"what is {n}?")) + "\n" for n in range(40)))
    return path


def test_a_cap_is_set_shown_replaced_and_removed(queued: Path) -> None:
    said = run_cli("budget", "set", "12.50", "--job", "mixed", "--warn", "50,90").stderr
    assert "budget job 1: $0.00 of $12.50 committed" in said
    assert "nothing more" not in said
    assert "nothing more of it will be bought" in run_cli("budget", "set", "0", "--job", "mixed").stderr, "all is spent"
    run_cli("budget", "set", "12.50", "--job", "mixed", "--warn", "50,90")
    run_cli("budget", "set", "200", "--month")
    run_cli("budget", "set", "3", "--tag", "team=search", "--day")
    facts = json.loads(run_cli("budget", "list", "--json").stdout)
    assert facts["schema"] == "batchrunner.budgets/1"
    found = {(each["scope"], each["ref"], each["period"]): each for each in facts["budgets"]}
    assert found["job", "1", "ever"]["warn_percent"] == [50, 90]
    assert found["all", "", "month"]["cap"] == "200"
    assert found["tag", "team=search", "day"]["left"] == "3"
    table = run_cli("budget", "list").stdout
    assert "job 1 (mixed)" in table
    assert "tag team=search a day" in table
    run_cli("budget", "remove", "--month")
    assert len(json.loads(run_cli("budget", "list", "--json").stdout)["budgets"]) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("set", "5", "--day", "--month"), "a day or for a month"),
        (("set", "5", "--job", "mixed", "--tag", "a=b"), "give --job alone"),
        (("set", "5", "--job", "nobody"), "there is no job"),
        (("set", "-5"), "No such option"),
        (("set", "99M"), "at most"),
        (("set", "5", "--warn", "120"), "percents"),
        (("remove", "--month"), "there is no budget month"),
        (("tune", "--max-cost", "5", "--model", "m"), "of the whole run"),
        (("tune", "--max-cost", "99M"), "at most"),
        (("tune", "--max-cost", "5"), "no run is going on"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_what_to_do(queued: Path, words: tuple[str, ...], said: str) -> None:
    result = run_cli(*(words if words[0] == "tune" else ("budget", *words)))
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_run_under_a_cap_asks_nothing_ends_with_4_and_says_how_to_go_on(chats: Path) -> None:
    with provider() as env:
        result = run_cli("run", str(chats), "--max-cost", "0.0001", "--progress", "none", env=env)
        assert result.exit_code == 4, result.stderr
        assert "stopped by budget --max-cost: " in result.stderr
        assert "committed" in result.stderr
        assert "may cost" in result.stderr
        assert "nothing more of it will be bought" in run_cli("budget", "set", "0.000001", "--job", "chats").stderr
        run_cli("budget", "set", "0.0001", "--job", "chats")
        result = run_cli("run", "chats", "--yes", "--progress", "none", env=env)
        assert result.exit_code == 4, result.stderr
        assert "batchrunner budget set AMOUNT --job 1 raises it" in result.stderr
        assert json.loads(run_cli("status", "chats", "--json").stdout)["jobs"][0]["state"] == "paused"
        assert "was stopped by budget job 1" in run_cli("status", "chats").stderr
        run_cli("budget", "set", "1", "--job", "chats")
        assert run_cli("run", "chats", "--yes", "--progress", "none", env=env).exit_code == 0


def test_a_model_without_a_price_is_refused_under_a_cap_and_nothing_is_sent(queued: Path) -> None:
    with provider() as env:
        result = run_cli("run", "--max-cost", "1", "--progress", "none", env=env)
    assert result.exit_code == 2
    assert "no price" in result.stderr
    assert "--assume-price" in result.stderr
    assert json.loads(run_cli("costs", "--json").stdout)["total"]["calls"] == 0


@pytest.mark.parametrize("price", ["5", "1/x", "-1/2", "1/2/3"])
def test_an_assumed_price_that_is_none_is_refused_with_an_example(chats: Path, price: str) -> None:
    result = run_cli("run", str(chats), "--max-cost", "1", "--assume-price", price)
    assert result.exit_code == 2
    assert "0.50/1.50" in result.stderr
