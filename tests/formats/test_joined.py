"""Columns beside the answers, in CSV and Parquet: the input's that were kept, and fields of JSON answers."""

import csv
import io
import json
from decimal import Decimal

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchrunner.core.errors import ConfigurationError
from batchrunner.formats.export_csv import COLUMNS
from batchrunner.formats.joined import Joined, Kind, answer_fields, kept_columns, survey_fields, survey_kept
from batchrunner.formats.results import export, exporter_for
from tests.formats.lines import Made, job, text_of


def extras(**columns):
    return json.dumps({"metadata": {"tags": {}, "columns": columns}}).encode()


def rows(*kept):
    return [Made(id=n, line=n, custom_id=f"r{n}", extras=extras(**each)) for n, each in enumerate(kept, 1)]


def write(made, out, fields=(), **options):
    found = survey_fields((text_of(row.endpoint, row.body)[0] for row in made), fields) if fields else {}
    joined = Joined(survey_kept(row.extras for row in made if row.extras), found, COLUMNS)
    return export(made, str(out), exporter_for(str(out), job(), text_of=text_of, joined=joined), **options)


def read_csv(path):
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))


KEPT = [
    {"i": 1, "f": 1.5, "b": True, "n": None, "t": "x", "l": [1, {"a": None}], "mixed": 1},
    {"i": -(2**63), "f": 2, "b": False, "n": None, "t": "=1+1", "mixed": "one", "late": 1},
]


def test_types_are_kept_in_parquet(tmp_path):
    write(rows(*KEPT), tmp_path / "o.parquet")
    table = pq.read_table(tmp_path / "o.parquet")
    assert {name: str(table.schema.field(name).type) for name in (*KEPT[0], "late")} == {
        "i": "int64", "f": "double", "b": "bool", "n": "string", "t": "string", "l": "string", "mixed": "string",
        "late": "int64",
    }  # fmt: skip
    assert [{name: row[name] for name in (*KEPT[0], "late")} for row in table.to_pylist()] == [
        {**KEPT[0], "l": '[1,{"a":null}]', "mixed": "1", "late": None},
        {**KEPT[1], "f": 2.0, "l": None},
    ]


def test_csv_has_the_values_as_they_were_and_its_formulas_are_defused(tmp_path):
    hostile = {"t": "=cmd()", "@h": "+1+1", "neg": "-5", "big": 10**30}
    write(rows(*KEPT, hostile), tmp_path / "o.csv")
    found = read_csv(tmp_path / "o.csv")
    assert [(row["i"], row["f"], row["b"], row["t"]) for row in found[:2]] == [
        ("1", "1.5", "true", "x"),
        (str(-(2**63)), "2", "false", "'=1+1"),
    ]
    assert (found[2]["t"], found[2]["'@h"], found[2]["neg"], found[2]["big"]) == ("'=cmd()", "'+1+1", "-5", str(10**30))
    assert [row["custom_id"] for row in found] == ["r1", "r2", "r3"]


def test_a_column_that_is_called_as_one_of_ours_gets_another_name(tmp_path):
    write(rows({"text": "mine", "input.text": "too"}), tmp_path / "o.csv")
    (row,) = read_csv(tmp_path / "o.csv")
    assert (row["text"], row["input.text"], row["input.input.text"]) == ("yes", "mine", "too")


def answering(*texts):
    return [
        Made(id=n, custom_id=f"r{n}", body=json.dumps({"choices": [{"message": {"content": text}}]}).encode())
        for n, text in enumerate(texts, 1)
    ]


def test_fields_of_json_answers_are_columns_with_their_types(tmp_path):
    texts = ('{"label": "a", "score": {"value": 1}}', '```json\n{"label": "b", "score": {"value": 0.5}}\n```', "no")
    write(answering(*texts), tmp_path / "o.parquet", ("label", "score.value", "gone"))
    found = pq.read_table(tmp_path / "o.parquet", columns=["label", "score.value", "gone"])
    assert found.to_pylist() == [
        {"label": "a", "score.value": 1.0, "gone": None},
        {"label": "b", "score.value": 0.5, "gone": None},
        {"label": None, "score.value": None, "gone": None},
    ]


def test_all_fields_may_be_asked_for():
    assert survey_fields(['{"a":1}', '{"b":"x"}', "[1]", None], ("*",)) == {"a": Kind.INT, "b": Kind.TEXT}
    assert answer_fields('{"a":1,"b":2}', ("b",)) == {"b": 2}


@pytest.mark.parametrize(
    "raw", [None, b"{}", b'{"metadata":{"columns":[1]}}', b'{"metadata":5}', b'{"columns":{"a":1}}']
)
def test_lines_that_keep_no_columns_have_none(raw):
    assert kept_columns(raw) == {}


def test_more_columns_than_a_table_has_are_refused():
    with pytest.raises(ConfigurationError, match="different columns"):
        survey_kept(extras(**{f"c{n}": 1}) for n in range(3_000))


def test_costs_in_parquet_are_exact_and_whoever_reads_it_agrees(tmp_path):
    made = [Made(cost=1), Made(id=8, custom_id="b", cost=2**62), Made(id=9, custom_id="c", cost=None)]
    write(made, tmp_path / "o.parquet")
    path = str(tmp_path / "o.parquet")
    exact = [Decimal("0.000000000001"), Decimal(2**62).scaleb(-12), None]
    assert pq.read_table(path)["cost_usd"].to_pylist() == exact
    assert [row[0] for row in duckdb.sql(f"select cost_usd from '{path}'").fetchall()] == exact
    assert polars.read_parquet(path)["cost_usd"].to_list() == exact


def test_parquet_names_its_job_and_is_replaced_by_the_same_job_only(tmp_path):
    out = tmp_path / "o.parquet"
    write(rows({"a": 1}), out)
    told = pq.read_metadata(out).metadata
    assert told[b"batchrunner.job"] == b"demo"
    assert told[b"batchrunner.model"] == b"openai/gpt-oss-20b"
    assert b"batchrunner.version" in told
    assert write(rows({"a": 1}, {"a": 2}), out).succeeded == 2
    pq.write_table(pa.table({"a": [1]}), out)
    with pytest.raises(ConfigurationError, match="not written from this job"):
        write(rows({"a": 1}), out)
    out.write_bytes(b"precious")
    with pytest.raises(ConfigurationError, match="not written from this job"):
        write(rows({"a": 1}), out)


def test_a_csv_of_a_job_that_grew_by_a_column_is_replaced(tmp_path):
    write(rows({"a": 1}), tmp_path / "o.csv")
    write(rows({"a": 1}, {"b": 1}), tmp_path / "o.csv")
    assert read_csv(tmp_path / "o.csv")[1]["b"] == "1"


def test_row_groups_are_written_as_they_fill(tmp_path, monkeypatch):
    monkeypatch.setattr("batchrunner.formats.export_parquet.ROWS", 10)
    write(rows(*({"n": n} for n in range(25))), tmp_path / "o.parquet")
    assert pq.read_metadata(tmp_path / "o.parquet").num_row_groups == 3
    assert pq.read_table(tmp_path / "o.parquet")["n"].to_pylist() == list(range(25))


def test_an_export_without_rows_and_half_a_surrogate_pair_are_sound_parquet(tmp_path):
    write([], tmp_path / "none.parquet")
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0
    body = b'{"choices":[{"message":{"content":"x\\ud83d"}}]}'
    export(
        [Made(body=body)],
        str(tmp_path / "o.parquet"),
        exporter_for("o.parquet", job(), text_of=lambda endpoint, reply: ("x\ud83d", None)),
    )
    assert pq.read_table(tmp_path / "o.parquet")["text"].to_pylist() == ["x?"]
