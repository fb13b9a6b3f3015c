"""Results in files: whole documents, whole files, and never over somebody else's."""

import csv
import io
import json
import os
import signal
import stat
import subprocess
import sys

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.errors import ConfigurationError, DatabaseError
from batchrunner.core.request import RequestState
from batchrunner.core.usage import Usage
from batchrunner.formats.base import ExportSummary, exact_usd
from batchrunner.formats.export_csv import COLUMNS
from batchrunner.formats.export_jsonl import one_line_json
from batchrunner.formats.results import check_target, export, exporter_for
from tests.formats.lines import Made, job, text_of

FAILED, CANCELLED, QUARANTINED = RequestState.FAILED, RequestState.CANCELLED, RequestState.QUARANTINED


def exporter(out, **options):
    return exporter_for(str(out), options.pop("job", job()), text_of=text_of, **options)


def written(rows, out, **options):
    return export(rows, str(out), exporter(out), **options)


def refusal(**changes):
    return Made(
        id=8, line=2, custom_id="b", state=FAILED, status=400, body=b'{\n "error": {"message": "no"}\r\n}',
        failure="invalid_request", message="no", request_id=None, echoed_model=None, usage=None, usage_from="none",
        billing="not_billed", cost=None, attempts=1,
    )._replace(**changes)  # fmt: skip


def never_sent(**changes):
    return refusal(
        id=9, line=3, custom_id="c", state=CANCELLED, status=None, body=None, failure=None, message=None, attempts=0,
        opened=None, ended=None, attempt_id=None, usage_from=None, billing=None,
    )._replace(**changes)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------- JSONL


def test_an_answer_is_a_line_of_openais_shape_with_one_key_of_ours(tmp_path):
    written([Made(extras=b'{"metadata":{"who":"me"},"v":2}')], tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == (
        b'{"id":"batch_req_7","custom_id":"a","response":{"status_code":200,"request_id":"req-1",'
        b'"body":{"choices":[{"message":{"content":"yes"},"finish_reason":"stop"}]}},"error":null,'
        b'"batchrunner":{"job":"demo","line":1,"state":"succeeded","attempts":2,"latency_ms":123,'
        b'"provider":"together","model":"openai/gpt-oss-20b","echoed_model":"openai/gpt-oss-20b-0825",'
        b'"endpoint":"/v1/chat/completions",'
        b'"usage":{"input_tokens":10,"cached_tokens":4,"output_tokens":3,"reasoning_tokens":1},'
        b'"usage_from":"provider","billing":"billed","cost_usd":"0.0000011",'
        b'"flags":[],"extras":{"metadata":{"who":"me"},"v":2},"job_mark":"de6af9f995527c51"}}\n'
    )


def test_a_streamed_answer_tells_its_time_to_the_first_token_and_a_part_of_one_is_marked(tmp_path):
    part = refusal(status=None, body=b'{"choices":[{"index":0,"finish_reason":null}]}', partial=True, failure="timeout")
    written([Made(ttft=345_678), part], tmp_path / "out.jsonl")
    (whole,) = map(json.loads, (tmp_path / "out.jsonl").read_bytes().splitlines())
    (broken,) = map(json.loads, (tmp_path / "out.errors.jsonl").read_bytes().splitlines())
    assert whole["batchrunner"]["ttft_ms"] == 345
    assert "partial" not in whole["batchrunner"]
    assert (broken["error"]["code"], broken["batchrunner"]["partial"]) == ("timeout", True)
    assert broken["response"]["status_code"] == 200
    assert broken["response"]["body"] == {"choices": [{"index": 0, "finish_reason": None}]}


def test_a_refusal_has_the_response_and_the_error_and_what_was_never_sent_has_none(tmp_path):
    summary = written([Made(), refusal(), never_sent()], tmp_path / "out.jsonl")
    assert summary.errors == str(tmp_path / "out.errors.jsonl")
    refused, unsent = map(json.loads, (tmp_path / "out.errors.jsonl").read_bytes().splitlines())
    ours = {
        "job": "demo", "line": 2, "state": "failed", "attempts": 1, "latency_ms": 123, "provider": "together",
        "model": "openai/gpt-oss-20b", "echoed_model": None, "endpoint": "/v1/chat/completions", "usage": None,
        "usage_from": "none", "billing": "not_billed", "cost_usd": None, "flags": [], "extras": None,
        "job_mark": "de6af9f995527c51",
    }  # fmt: skip
    assert refused == {
        "id": "batch_req_8",
        "custom_id": "b",
        "response": {"status_code": 400, "request_id": None, "body": {"error": {"message": "no"}}},
        "error": {"code": "invalid_request", "message": "no", "sdk_class": "BadRequestError"},
        "batchrunner": ours,
    }
    nothing = {"line": 3, "state": "cancelled", "attempts": 0, "latency_ms": None, "usage_from": None, "billing": None}
    assert unsent == {
        "id": "batch_req_9",
        "custom_id": "c",
        "response": None,
        "error": {"code": "cancelled", "message": ""},
        "batchrunner": {**ours, **nothing},
    }


def test_a_reply_is_spliced_in_as_it_came_but_on_one_line():
    assert one_line_json(b'{\r\n  "a": 1.50,\n  "b": "\\n\xc3\xa9"\n}') == b'{    "a": 1.50,   "b": "\\n\xc3\xa9" }'


@pytest.mark.parametrize(
    "body", [b"<html>\n<b>502</b>", b"", b"upstream \xff", b'{"a":1', b"NaN", b'"\\ud83d" NaN', b"[" * 5000]
)
def test_a_body_that_is_not_json_becomes_a_string(body):
    assert json.loads(one_line_json(body)) == body.decode("utf-8", "replace")


def test_an_answer_cut_off_in_an_emoji_is_json_all_the_same():
    body = b'{"content":"ha \\ud83d","seed":' + b"9" * 5000 + b"}"
    assert one_line_json(body) == body


@given(st.text() | st.binary().map(lambda raw: raw.decode("utf-8", "replace")), st.binary())
def test_every_row_is_one_line_of_json_whatever_it_holds(text, body):
    row = refusal(custom_id=text, message=text, body=body, model=text)
    line = exporter("x.jsonl").line(row)
    assert line.count(b"\n") == 1
    found = json.loads(line)
    assert (found["custom_id"], found["error"]["message"], found["batchrunner"]["model"]) == (text, text, text)


@given(st.integers(0, 10**24))
def test_no_digit_of_a_cost_is_lost(pico):
    whole, _, part = exact_usd(pico).partition(".")
    assert int(whole) * 10**12 + int((part or "0").ljust(12, "0")) == pico
    assert len(part) <= 12
    assert not part.endswith("0")


def test_o5_rows_are_counted_by_how_they_ended_and_unfinished_ones_left_out(tmp_path):
    queued = Made(state=RequestState.QUEUED, body=None, status=None)
    rows = [
        Made(),
        queued,
        refusal(),
        never_sent(),
        refusal(state=QUARANTINED),
        queued._replace(state=RequestState.RUNNING),
    ]
    summary = written(rows, tmp_path / "out.jsonl")
    assert summary == ExportSummary(
        out=str(tmp_path / "out.jsonl"), errors=str(tmp_path / "out.errors.jsonl"),
        succeeded=1, failed=1, cancelled=1, quarantined=1, unfinished=2,
    )  # fmt: skip
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 1
    assert len((tmp_path / "out.errors.jsonl").read_bytes().splitlines()) == 3


def test_other_units_than_tokens_are_in_the_usage_of_the_lines_that_have_them(tmp_path):
    usage = Usage(
        *(50, 0, 7, 0), images=2, pixels=2_097_152, milliseconds=12_340, characters=9, searches=1, audio_input=40,
        cost=280_000_000_000,
    )  # fmt: skip
    written([Made(usage=usage), Made(usage=Usage(milliseconds=1))], tmp_path / "out.jsonl")
    first, second = (
        json.loads(line)["batchrunner"]["usage"] for line in (tmp_path / "out.jsonl").read_bytes().splitlines()
    )
    assert first == {
        "input_tokens": 50, "cached_tokens": 0, "output_tokens": 7, "reasoning_tokens": 0, "images": 2,
        "pixels": 2_097_152, "seconds": 12.34, "characters": 9, "searches": 1, "audio_input_tokens": 40,
        "stated_cost_usd": "0.28",
    }  # fmt: skip
    assert second["seconds"] == 0.001
    written([Made(usage=usage)], tmp_path / "out.csv")
    (row,) = csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines())
    told = [row[name] for name in ("input_tokens", "images", "pixels", "seconds", "characters", "searches")]
    assert told == ["50", "2", "2097152", "12.34", "9", "1"]


# ------------------------------------------------------------------------------------------------------------------ CSV


def test_tables_say_whose_copy_a_row_is(tmp_path):
    rows = [Made(), Made(custom_id="b", line=2, copy_of="a")]
    written(rows, tmp_path / "out.csv")
    written(rows, tmp_path / "out.parquet")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert [row["copy_of"] for row in csv.DictReader(file)] == ["", "a"]
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet")["copy_of"].to_pylist() == [None, "a"]


def test_csv_has_one_row_for_every_finished_request(tmp_path):
    summary = written([Made(custom_id='x,"y"\nz'), refusal(), never_sent()], tmp_path / "out.csv")
    assert summary.errors is None
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == (
        ",".join(COLUMNS) + "\n"
        '"x,""y""\nz",1,succeeded,yes,,stop,openai/gpt-oss-20b,/v1/chat/completions,10,4,3,1,,,,,,provider,0.0000011,'
        "123,2,,,,,,,demo,de6af9f995527c51\n"
        "b,2,failed,,,,openai/gpt-oss-20b,/v1/chat/completions,,,,,,,,,,none,,123,1,,,,invalid_request,BadRequestError,no,"
        "demo,de6af9f995527c51\n"
        "c,3,cancelled,,,,openai/gpt-oss-20b,/v1/chat/completions,,,,,,,,,,,,,0,,,,,,,demo,de6af9f995527c51\n"
    )


def test_csv_has_the_part_of_an_answer_that_broke_off_in_its_failed_row_and_says_that_it_is_one(tmp_path):
    body = b'{"choices":[{"index":0,"message":{"content":"Once upon"},"finish_reason":null}]}'
    told = {"status": None, "failure": "timeout", "message": "silent"}
    part, without = refusal(body=body, partial=True, **told), refusal(body=body, **told)
    written([Made(), part, without], tmp_path / "out.csv")
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["state"], row["text"], row["partial"], row["error_kind"]) for row in rows] == [
        ("succeeded", "yes", "", ""),
        ("failed", "Once upon", "true", "timeout"),
        ("failed", "", "", "timeout"),
    ]


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", '=HYPERLINK("x")'])
def test_s9_a_cell_that_a_spreadsheet_would_run_gets_an_apostrophe(cell):
    body = json.dumps({"choices": [{"message": {"content": cell}, "finish_reason": cell}]}).encode()
    row = Made(custom_id=cell, model=cell, body=body, failure=cell, message=cell)

    def cells(**options):
        line = exporter("x.csv", job=job(name=cell), **options).line(row).decode()
        (record,) = csv.reader(io.StringIO(line, newline=""))
        found = dict(zip(COLUMNS, record, strict=True))
        return [
            found[name]
            for name in ("custom_id", "text", "finish_reason", "model", "error_kind", "error_message", "job")
        ]

    assert cells() == ["'" + cell] * 7
    assert cells(raw_cells=True) == [cell] * 7


@pytest.mark.parametrize("cell", ["1=1", "a-b", "'=1", "", " =1"])
def test_s9_other_cells_stay_as_they_are(cell):
    assert next(csv.reader([exporter("x.csv").line(Made(custom_id=cell)).decode()]))[0] == cell


@pytest.mark.parametrize("body", [b'{"choices":[]}', b'{"choices":null}', b'{"data":[]}', b"[1]", b"x", b"[" * 5000])
def test_an_answer_without_a_finish_reason_has_an_empty_cell(body):
    made = exporter_for("x.csv", job(), text_of=lambda endpoint, reply: (None, None))
    assert next(csv.reader([made.line(Made(body=body)).decode()]))[COLUMNS.index("finish_reason")] == ""


# --------------------------------------------------------------------------------------------------------------- stdout


def test_o5_standard_output_gets_answers_and_failures_in_order():
    out = io.BytesIO()
    summary = export([Made(), refusal()], "-", exporter("-"), stdout=out)
    assert [json.loads(line)["custom_id"] for line in out.getvalue().splitlines()] == ["a", "b"]
    assert (summary.out, summary.errors, summary.failed) == ("-", None, 1)


def test_the_format_can_be_named_for_standard_output():
    out = io.BytesIO()
    export([Made()], "-", exporter("-", kind="csv"), stdout=out)
    assert out.getvalue().startswith(b"custom_id,line,")


@pytest.mark.parametrize("out", ["out", "out.feather", "batchrunner.db", "out.json"])
def test_a_suffix_that_names_no_format_is_refused(out):
    with pytest.raises(ConfigurationError, match="names no format") as caught:
        exporter(out)
    assert ".csv" in caught.value.hint


# -------------------------------------------------------------------------------------------------------------- targets


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
@pytest.mark.parametrize("rows", [[], [Made()], [Made(), refusal()]])
def test_what_this_job_wrote_is_replaced(tmp_path, name, rows):
    written(rows, tmp_path / name)
    check_target(str(tmp_path / name), exporter(tmp_path / name))
    assert written([Made(), Made()], tmp_path / name).succeeded == 2


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
@pytest.mark.parametrize(
    "content", [b"my notes\n", b"custom_id,line\n", b'{"job_mark":"de6af9f995527c51"}}\nmore\n', b"\n"]
)
def test_o3_any_other_file_needs_force(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match="exists") as caught:
        written([Made()], tmp_path / name)
    assert "--force" in caught.value.hint
    assert (tmp_path / name).read_bytes() == content
    assert written([Made()], tmp_path / name, force=True).succeeded == 1


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_o3_another_jobs_results_need_force(tmp_path, name):
    export([Made()], str(tmp_path / name), exporter(name, job=job(key="f" * 64)))
    with pytest.raises(ConfigurationError, match="not written from this job"):
        written([Made()], tmp_path / name)


def test_a_foreign_file_where_the_failures_go_is_not_touched_either(tmp_path):
    (tmp_path / "out.errors.jsonl").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"out\.errors\.jsonl exists"):
        written([Made(), refusal()], tmp_path / "out.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.errors.jsonl"]
    written([Made()], tmp_path / "out.jsonl", force=True)
    assert (tmp_path / "out.errors.jsonl").read_text() == "mine"


def test_failures_that_are_no_more_take_their_file_with_them(tmp_path):
    written([Made(), refusal()], tmp_path / "out.jsonl")
    assert written([Made(), Made()], tmp_path / "out.jsonl").errors is None
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_o3_a_link_a_folder_and_a_pipe_are_refused_even_with_force(tmp_path):
    (tmp_path / "real.jsonl").write_text("mine")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "real.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name in ("link.jsonl", "folder.jsonl", "pipe.jsonl"):
        with pytest.raises(ConfigurationError, match="not a regular file"):
            written([Made()], tmp_path / name, force=True)
    assert (tmp_path / "real.jsonl").read_text() == "mine"


def test_a_missing_folder_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigurationError, match="there is no folder"):
        check_target(str(tmp_path / "no" / "out.jsonl"), exporter("x.jsonl"))


def test_s19_results_are_readable_by_their_owner_only(tmp_path):
    written([Made(), refusal()], tmp_path / "out.jsonl")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


# ------------------------------------------------------------------------------------------------------------ atomicity


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_o1_an_export_that_breaks_leaves_the_old_files_and_nothing_else(tmp_path, name):
    written([Made(), refusal()], tmp_path / name)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def rows():
        yield Made(custom_id="new")
        raise DatabaseError("the disk is gone")

    with pytest.raises(DatabaseError):
        written(rows(), tmp_path / name)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_o1_a_full_disk_is_a_database_error_and_leaves_the_old_file(tmp_path, monkeypatch):
    written([Made()], tmp_path / "out.jsonl")
    before = (tmp_path / "out.jsonl").read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DatabaseError, match="No space left"):
        written([Made(), Made()], tmp_path / "out.jsonl")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"out.jsonl": before}


KILLED = """
import os, signal, sys
from batchrunner.formats.results import export, exporter_for
from tests.formats.lines import Made, job, text_of

def rows():
    for number in range(5000):
        yield Made(id=number)
    os.kill(os.getpid(), signal.SIGKILL)

export(rows(), sys.argv[1], exporter_for(sys.argv[1], job(), text_of=text_of))
"""


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_o1_a_process_killed_before_the_end_leaves_the_old_file(tmp_path, name, repository):
    written([Made()], tmp_path / name)
    before = (tmp_path / name).read_bytes()
    ended = subprocess.run([sys.executable, "-c", KILLED, tmp_path / name], cwd=repository, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert (tmp_path / name).read_bytes() == before
    assert all(path.name == name or path.name.endswith(".part") for path in tmp_path.iterdir())
    assert written([Made(), Made()], tmp_path / name).succeeded == 2


def test_o1_the_file_is_on_the_disk_before_it_takes_the_targets_place_and_the_folder_after(tmp_path, monkeypatch):
    target, steps = tmp_path / "out.csv", []
    written([Made(custom_id="old")], target)
    sync, rename = os.fsync, os.rename

    def noted(descriptor):
        steps.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        sync(descriptor)

    def moved(source, to):
        steps.append("rename over the old" if b"old" in target.read_bytes() else "rename")
        rename(source, to)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "rename", moved)
    written([Made()], target)
    assert steps == ["sync file", "rename over the old", "sync folder"]
