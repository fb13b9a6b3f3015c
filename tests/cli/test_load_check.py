"""``load`` and ``check``: job files in, or refused with the place of each fault."""

import json
from pathlib import Path

from tests.cli.conftest import CHAT, EMBED, ROWS, chat, run_cli, write


def test_load_queues_a_file_and_says_how_to_run_it(here: Path) -> None:
    write(here / "mixed.jsonl", ROWS)

    result = run_cli("load", "mixed.jsonl")

    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1].split() == ["1", "mixed", "together", "6", "6"]
    assert "next: batchrunner run mixed" in result.stderr


def test_loading_a_file_twice_queues_it_once(queued: Path) -> None:
    result = run_cli("load", "mixed.jsonl", "--json")

    facts = json.loads(result.stdout)
    assert facts["schema"] == "batchrunner.load/1"
    assert (facts["job"]["id"], facts["job"]["requests"], facts["added"]) == (1, 6, 0)
    assert "nothing new" in result.stderr


def test_load_add_takes_the_new_lines_only(queued: Path) -> None:
    write(queued / "mixed.jsonl", [*ROWS, chat("new", "hello")])

    facts = json.loads(run_cli("load", "mixed.jsonl", "--add", "--json").stdout)

    assert (facts["job"]["id"], facts["job"]["requests"], facts["added"]) == (1, 7, 1)


def test_load_reads_standard_input(here: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)

    facts = json.loads(run_cli("load", "-", "--name", "piped", "--json", stdin=lines).stdout)

    assert (facts["job"]["name"], facts["added"]) == ("piped", 6)


def test_load_keeps_name_and_tags(here: Path) -> None:
    write(here / "mixed.jsonl", ROWS)

    job = json.loads(run_cli("load", "mixed.jsonl", "--name", "nightly", "--tag", "team=search", "--json").stdout)[
        "job"
    ]

    assert (job["name"], job["tags"]) == ("nightly", {"team": "search"})


def test_the_next_command_names_a_database_that_was_named(here: Path) -> None:
    write(here / "mixed.jsonl", ROWS)

    result = run_cli("load", "mixed.jsonl", "--db", "a place.db")

    assert f"next: batchrunner run mixed --db '{here / 'a place.db'}'" in result.stderr


def test_check_counts_by_endpoint_and_model_and_stores_nothing(here: Path) -> None:
    write(here / "mixed.jsonl", ROWS)

    result = run_cli("check", "mixed.jsonl", "--json")

    facts = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (facts["schema"], facts["valid"], facts["requests"]) == ("batchrunner.check/1", True, 6)
    assert facts["by_model"][0] == {"endpoint": "/v1/chat/completions", "model": CHAT, "requests": 4}
    assert {"endpoint": "/v1/embeddings", "model": EMBED, "requests": 1} in facts["by_model"]
    assert facts["max_output_tokens"] == 5 * 16
    assert not (here / "batchrunner.db").exists()


def test_check_shows_file_line_and_column_of_each_fault_and_ends_with_5(here: Path) -> None:
    (here / "bad.jsonl").write_text(json.dumps(chat("a", "x")) + '\n{"custom_id": nope}\n', encoding="utf-8")

    result = run_cli("check", "bad.jsonl")

    assert result.exit_code == 5
    assert result.stdout == ""
    assert any(line.startswith(f"{here / 'bad.jsonl'}:2:") for line in result.stderr.splitlines())


def test_check_tells_programs_the_faults_as_json(here: Path) -> None:
    write(here / "twice.jsonl", [chat("a", "x"), chat("b", "y"), chat("a", "z")])

    result = run_cli("check", "twice.jsonl", "--json")

    facts = json.loads(result.stdout)
    assert result.exit_code == 5
    assert (facts["valid"], facts["bad_lines"]) == (False, 1)
    assert facts["problems"][0]["line"] == 3
    assert "line 1" in facts["problems"][0]["reason"]


def test_options_can_make_a_line_good(here: Path) -> None:
    row = {"custom_id": "a", "body": {"model": "m", "text": "x", "messages": [{"role": "user", "content": "hi"}]}}
    del row["body"]["model"]  # type: ignore[attr-defined]
    write(here / "bare.jsonl", [row])

    assert run_cli("check", "bare.jsonl").exit_code == 5
    assert run_cli("check", "bare.jsonl", "--model", CHAT).exit_code == 0
