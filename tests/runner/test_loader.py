"""Job files into the queue: identity, change, addition, refusal."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from batchrunner.api import Session, session
from batchrunner.config import load_settings
from batchrunner.core.errors import ConfigurationError, InputError
from batchrunner.core.job import JobOptions


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Session]:
    with session(load_settings({"db": str(tmp_path / "q.db")}, {}, tmp_path, None)) as opened:
        yield opened


def line(name: str, text: str = "hi", **body: Any) -> dict[str, Any]:
    message = {"role": "user", "content": text}
    return {"custom_id": name, "body": {"model": "m", "messages": [message], "max_tokens": 5, **body}}


def write(path: Path, *lines: object) -> str:
    path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in lines))
    return str(path)


def test_the_same_file_with_the_same_options_is_the_same_job(held: Session, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", line("1"), line("2"))
    first = held.load(path)
    again = held.load(path)
    assert (first.added, again.added) == (2, 0)
    assert again.job == first.job


def test_a_moved_copy_of_a_file_is_the_same_job(held: Session, tmp_path: Path) -> None:
    first = held.load(write(tmp_path / "a.jsonl", line("1")))
    assert held.load(write(tmp_path / "b.jsonl", line("1"))).job.id == first.job.id


def test_a_changed_file_is_refused_with_what_differs(held: Session, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    held.load(write(path, line("1"), line("2"), line("3")))
    write(path, line("1"), line("2", "changed"), line("4"), line("5"))
    with pytest.raises(InputError, match="1 lines differ, 2 are new, 1 are gone") as refused:
        held.load(str(path))
    assert "--add" in (refused.value.hint or "")
    assert held.status("a").counts.total == 3


def test_add_takes_the_new_lines_only(held: Session, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    first = held.load(write(path, line("1"), line("2"), line("3")))
    write(path, line("1"), line("2", "changed"), line("4"), line("5"))
    added = held.load(str(path), add=True)
    assert (added.added, added.changed, added.gone) == (2, 1, 1)
    assert added.job.id == first.job.id
    assert [result.custom_id for result in held.results("a")] == ["1", "2", "3", "4", "5"]
    assert held.load(str(path)).added == 0


def test_a_job_that_grew_replaces_what_it_exported_before(held: Session, tmp_path: Path) -> None:
    path, out = tmp_path / "a.jsonl", str(tmp_path / "out.jsonl")
    job = held.load(write(path, line("1"))).job
    with held._store._session.write() as connection:
        connection.exec_driver_sql("UPDATE requests SET state = 'cancelled'")
    held.export(job, out)
    assert (tmp_path / "out.errors.jsonl").read_bytes()
    grown = held.load(write(path, line("1"), line("2")), add=True).job
    assert held.export(grown, out).cancelled == 1


def test_add_of_a_file_with_a_bad_line_adds_nothing(held: Session, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    held.load(write(path, line("1")))
    write(path, line("1"), line("2"), "{")
    with pytest.raises(InputError, match="1 bad line"):
        held.load(str(path), add=True)
    assert held.status("a").counts.total == 1


def test_other_options_need_a_name_and_make_a_second_job(held: Session, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", line("1"))
    held.load(path)
    other = JobOptions(provider="together", model="other")
    with pytest.raises(InputError, match=r"already job 1.*model None, now 'other'"):
        held.load(path, other)
    second = held.load(path, other, name="second")
    assert (second.job.id, second.job.name) == (2, "second")


def test_options_change_the_stored_bodies(held: Session, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", line("1"))
    plain = held.load(path)
    changed = held.load(
        path, JobOptions(provider="together", model="other", settings=(("max_tokens", "512"),)), name="changed"
    )
    works = {work.lane.model: work.max_out for work in held._reader.workload([plain.job.id, changed.job.id])}
    assert works == {"m": 5, "other": 512}


def test_f11_duplicate_ids_are_reported_with_both_lines_and_nothing_is_stored(held: Session, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", line("1"), line("2"), line("1"), line("3"), line("2"))
    with pytest.raises(InputError) as refused:
        held.load(path)
    assert [(each.line, each.reason) for each in refused.value.problems] == [
        (3, 'custom_id "1" was used on line 1 already'),
        (5, 'custom_id "2" was used on line 2 already'),
    ]
    assert held.jobs() == []


def test_only_the_first_twenty_problems_are_kept_and_all_are_counted(held: Session, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *["{"] * 50)
    with pytest.raises(InputError, match="50 bad lines") as refused:
        held.load(path)
    assert [problem.line for problem in refused.value.problems] == list(range(1, 21))
    assert refused.value.count == 50


def test_a_line_without_an_endpoint_says_what_to_add(held: Session, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"custom_id": "1", "body": {"model": "m"}})
    with pytest.raises(InputError) as refused:
        held.load(path)
    assert 'add "url" or give --endpoint' in refused.value.problems[0].reason


def test_a_load_that_was_killed_is_discarded_and_done_again(held: Session, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", line("1"), line("2"))
    job = held.load(path).job
    with held._store._session.write() as connection:
        connection.exec_driver_sql("UPDATE jobs SET state = 'loading'")
    again = held.load(path)
    assert again.added == 2
    assert [found.id for found in held.jobs()] == [again.job.id]
    assert again.job.key == job.key


def test_standard_input_is_a_job_by_its_content(held: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("one", "two", "one"):
        data = io.BytesIO((json.dumps(line("1", text)) + "\n").encode())
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=data))
        held.load("-")
    assert [job.name for job in held.jobs()] == ["stdin", "stdin-2"]


def test_a_file_whose_name_is_not_utf8_is_loaded(held: Session, tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.jsonl")
    Path(path).write_text(json.dumps(line("1")) + "\n")
    assert held.load(path).job.name == "b\\xff"


def test_the_database_is_no_job_file(held: Session) -> None:
    with pytest.raises(ConfigurationError, match="is the database"):
        held.load(str(held.settings.db))


def test_results_never_replace_the_job_file(held: Session, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", line("1"))
    job = held.load(path).job
    with pytest.raises(ConfigurationError, match="was loaded from"):
        held.export(job, path, force=True)
    assert json.loads(Path(path).read_text())["custom_id"] == "1"


def test_memory_of_line_numbers_gives_input_order(held: Session, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", line("z"), "", line("a"), "   ", line("m"))
    held.load(path)
    assert [(result.custom_id, result.row.line) for result in held.results("a")] == [("z", 1), ("a", 3), ("m", 5)]
