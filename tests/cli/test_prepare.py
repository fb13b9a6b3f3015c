"""``prepare`` and ``run --template``: data in, a job file or answers out, with the columns joined."""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import CHAT, HOSTILE, POISON, provider, run_cli

ROWS: list[dict[str, Any]] = [
    {"id": "b-2", "title": "=cmd()", "year": 1999, "score": 1.5, "read": True, "note": None},
    {"id": "a-1", "title": f"{POISON} +1", "year": 2001, "score": 2.25, "read": False, "note": None},
    {"id": "c-3", "title": "three", "year": -7, "score": 1e22, "read": True, "note": None},
]


def write_csv(path: Path, delimiter: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(ROWS[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(ROWS)


def write_folder(path: Path) -> None:
    path.mkdir()
    for row in ROWS:
        (path / f"{row['id']}.txt").write_text(row["title"], encoding="utf-8")


@pytest.fixture
def data(here: Path) -> Path:
    """A working folder with the same rows in every form, and a template."""
    write_csv(here / "d.csv")
    write_csv(here / "d.tsv", "\t")
    (here / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(ROWS), here / "d.parquet")
    write_folder(here / "d")
    (here / "p.jinja").write_text("Tell me of {{ title }}", encoding="utf-8")
    (here / "f.jinja").write_text("Tell me of {{ text }}", encoding="utf-8")
    return here


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def asked(line: dict[str, Any]) -> str:
    return line["body"]["messages"][-1]["content"]


@pytest.mark.parametrize("source", ["d.csv", "d.tsv", "d.jsonl", "d.parquet"])
def test_every_form_becomes_the_same_requests(data: Path, source: str) -> None:
    result = run_cli("prepare", source, "-t", "p.jinja", "-o", "job.jsonl", "--id", "id", "--model", CHAT)

    assert result.exit_code == 0, result.stderr
    assert [(line["custom_id"], asked(line)) for line in lines(data / "job.jsonl")] == [
        (row["id"], f"Tell me of {row['title']}") for row in ROWS
    ]
    assert run_cli("check", "job.jsonl").exit_code == 0


def test_a_folder_becomes_a_request_for_each_file(data: Path) -> None:
    result = run_cli("prepare", "d", "-t", "f.jinja", "-o", "job.jsonl", "--model", CHAT)

    assert result.exit_code == 0, result.stderr
    assert [(line["custom_id"], asked(line)) for line in lines(data / "job.jsonl")] == [
        ("a-1.txt", f"Tell me of {POISON} +1"),
        ("b-2.txt", "Tell me of =cmd()"),
        ("c-3.txt", "Tell me of three"),
    ]


@pytest.mark.parametrize("source", ["d.csv", "d.tsv", "d.jsonl", "d.parquet", "d"])
def test_a_missing_column_is_an_error_that_names_it_and_nothing_is_written(data: Path, source: str) -> None:
    (data / "typo.jinja").write_text("Tell me\nof {{ titel }}", encoding="utf-8")

    result = run_cli("prepare", source, "-t", "typo.jinja", "-o", "job.jsonl", "--model", CHAT)

    assert result.exit_code == 5
    assert 'typo.jinja:2: there is no column "titel"' in result.stderr
    assert not (data / "job.jsonl").exists()


def test_a_hostile_template_reaches_nothing(data: Path) -> None:
    for source in ("{{ ''.__class__.__mro__ }}", "{% include '/etc/passwd' %}", "{{ 'a' * 10 ** 10 }}"):
        (data / "evil.jinja").write_text(source)
        result = run_cli("prepare", "d.csv", "-t", "evil.jinja", "-o", "job.jsonl", "--model", CHAT)
        assert (result.exit_code, (data / "job.jsonl").exists()) == (5, False)


def test_options_go_into_every_body_and_the_first_request_is_shown(data: Path) -> None:
    (data / "system.txt").write_text("Be brief\n")
    (data / "answer.json").write_text('{"type": "object"}')

    result = run_cli(
        *("prepare", "d.csv", "-t", "p.jinja", "-o", "-", "--limit", "1", "--model", CHAT, "--set", "max_tokens=7"),
        *("--system", "@system.txt", "--schema", "answer.json", "--keep", "title,year"),
    )

    (line,) = [json.loads(each) for each in result.stdout.splitlines()]
    assert line["body"]["max_tokens"] == 7
    assert line["body"]["model"] == CHAT
    assert line["body"]["messages"][0] == {"role": "system", "content": "Be brief"}
    assert line["body"]["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert line["metadata"] == {"columns": {"title": "=cmd()", "year": "1999"}}
    assert '"content": "Tell me of =cmd()"' in result.stderr


def test_the_preview_can_not_steer_the_terminal(here: Path) -> None:
    (here / "d.jsonl").write_text(json.dumps({"t": HOSTILE}))
    (here / "p.jinja").write_text("{{ t }}")

    result = run_cli("prepare", "d.jsonl", "-t", "p.jinja", "-o", "job.jsonl", "--model", CHAT)

    assert result.exit_code == 0
    assert not {"\x1b", "\x07", "\u202e"} & set(result.stderr)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("d.csv", "-t", "p.jinja", "-o", "job.jsonl"), 5, "--model"),
        (("d.csv", "-t", "p.jinja", "-o", "d.csv", "--force"), 2, "is what is read here"),
        (("d.csv", "-t", "p.jinja", "-o", "p.jinja", "--force"), 2, "is what is read here"),
        (("d", "-t", "f.jinja", "-o", "d/job.jsonl"), 2, "lies in the folder that is read"),
        (("d.csv", "-t", "p.jinja", "-o", "d.jsonl"), 2, "--force"),
        (("d.csv", "-t", "p.jinja", "-o", "job.jsonl.gz"), 2, "its suffix is not a job file's"),
        (("d.csv", "-t", "p.jinja", "-o", "no/job.jsonl"), 2, "there is no folder"),
        (("d.csv", "-t", "gone.jinja", "-o", "job.jsonl"), 5, "can't open gone.jinja"),
        (("d.csv", "-t", "p.jinja", "-o", "job.jsonl", "--id", "read"), 5, "was used at d.csv:2 already"),
    ],
)
def test_what_can_not_be_done_is_said_and_leaves_everything_as_it_was(
    data: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    model = () if said == "--model" else ("--model", CHAT)
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}

    result = run_cli("prepare", *words, *model)

    assert (result.exit_code, said in result.stderr) == (code, True), result.stderr
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("source", ["d.csv", "d.tsv", "d.parquet", "d"])
@pytest.mark.parametrize("words", [("run",), ("load",)])
def test_data_that_is_given_as_a_job_file_is_told_from_one(data: Path, words: tuple[str, ...], source: str) -> None:
    result = run_cli(*words, source)

    assert result.exit_code == 5
    assert f"error: {source} is {'a folder, not' if source == 'd' else 'data, not a job file'}" in result.stderr
    assert f"batchrunner run {source} --template prompt.jinja" in result.stderr
    assert len(result.stderr.splitlines()) == 2


def test_without_pyarrow_the_extra_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)

    result = run_cli("prepare", "d.parquet", "-t", "p.jinja", "-o", "job.jsonl", "--model", CHAT)

    assert (result.exit_code, "pip install 'batchrunner[data]'" in result.stderr) == (2, True)


@pytest.fixture
def box() -> Iterator[dict[str, str]]:
    with provider(poison=POISON) as env:
        yield env


def check_tables(folder: Path, name: str) -> None:
    """The answers of all rows in input order, with the columns as the input had them."""
    table = pq.read_table(folder / f"{name}.parquet")
    found = table.to_pylist()
    assert [row["custom_id"] for row in found] == [row["id"] for row in ROWS]
    assert [row["state"] for row in found] == ["succeeded", "failed", "succeeded"]
    columns = [column for column in ROWS[0] if column != "id"]
    assert [{column: row[column] for column in columns} for row in found] == [
        {column: row[column] for column in columns} for row in ROWS
    ]
    types = {column: str(table.schema.field(column).type) for column in columns}
    assert types == {"title": "string", "year": "int64", "score": "double", "read": "bool", "note": "string"}
    assert found[0]["text"]
    assert found[0]["input_tokens"] > 0
    assert found[0]["finish_reason"] in ("stop", "eos", "length")
    assert found[1]["error_kind"]
    with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["custom_id"] for row in rows] == [row["id"] for row in ROWS]
    assert [(row["title"], row["year"], row["score"], row["read"], row["note"]) for row in rows] == [
        ("'=cmd()", "1999", "1.5", "true", ""),
        (f"{POISON} +1", "2001", "2.25", "false", ""),
        ("three", "-7", "1e+22", "true", ""),
    ]
    assert [row["text"] for row in rows] == [row["text"] or "" for row in found]


def test_answers_of_a_prepared_job_come_back_with_the_columns_joined(data: Path, box: dict[str, str]) -> None:
    kept = ("--id", "id", "--keep", "title,year,score,read,note")
    assert run_cli("prepare", "d.parquet", "-t", "p.jinja", "-o", "job.jsonl", "--model", CHAT, *kept).exit_code == 0

    ran = run_cli("run", "job.jsonl", "-o", "job.csv", "--yes", "--progress", "none", env=box)
    exported = run_cli("results", "job", "-o", "job.parquet")

    assert (ran.exit_code, exported.exit_code) == (3, 0), ran.stderr + exported.stderr
    check_tables(data, "job")


def test_a_template_can_be_run_directly_and_the_same_command_goes_on(data: Path, box: dict[str, str]) -> None:
    words = (
        *("run", "d.jsonl", "--template", "p.jinja", "--id", "id", "--keep", "*", "--model", CHAT, "--name", "direct"),
        *("--yes", "--progress", "none"),
    )
    assert run_cli(*words, "-o", "direct.parquet", env=box).exit_code == 3

    again = run_cli(*words, "-o", "direct.csv", env=box)

    assert (again.exit_code, "nothing is left to do" in again.stderr) == (3, True)
    table = pq.read_table(data / "direct.parquet")
    assert "input.id" not in table.schema.names
    check_tables(data, "direct")
    (data / "p.jinja").write_text("Now tell me of {{ title }}")
    changed = run_cli("run", "d.jsonl", "--template", "p.jinja", "--id", "id", "--keep", "*", "--model", CHAT, env=box)
    assert changed.exit_code == 5
    assert "or the template for it, changed since it was loaded" in changed.stderr
    assert "--name" in changed.stderr


def test_options_of_a_template_need_one(data: Path) -> None:
    result = run_cli("run", "d.jsonl", "--keep", "title")

    assert (result.exit_code, "--keep needs a template" in result.stderr) == (2, True)


def test_fields_are_for_tables(worked: Path) -> None:
    assert run_cli("results", "mixed", "--fields", "a").exit_code == 2
    assert run_cli("results", "mixed", "-o", "out.csv", "--fields", "a").exit_code == 0
    assert ",a,job,job_mark" in (worked / "out.csv").read_text().splitlines()[0]


def test_standard_input_is_prepared_too(data: Path) -> None:
    words = ("prepare", "-", "-t", "p.jinja", "-o", "job.jsonl", "--model", CHAT)
    assert run_cli(*words, stdin='{"title": "one"}\n').exit_code == 0
    assert asked(lines(data / "job.jsonl")[0]) == "Tell me of one"

    result = run_cli(*words, "--force", "--format", "csv", stdin="title\ntwo\n")

    assert result.exit_code == 0, result.stderr
    assert asked(lines(data / "job.jsonl")[0]) == "Tell me of two"
