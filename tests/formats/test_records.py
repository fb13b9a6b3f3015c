"""Rows of people's data: every form gives the same rows, and what is wrong is said with its place."""

import csv
import gzip
import io
import json
import os
from contextlib import closing

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.errors import InputError
from batchrunner.formats.records import open_records

ROWS = [{"id": "a", "text": "one, two"}, {"id": "b", "text": 'say "hi"\nthere'}, {"id": "c", "text": "wide\u2028line"}]


def as_csv(rows, delimiter=","):
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_jsonl(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def write_parquet(path, rows, **options):
    pq.write_table(pa.Table.from_pylist(rows), path, **options)


def fields(path, **options):
    with closing(open_records(str(path), **options)) as records:
        return [record.fields for record in records]


def refusal(path, **options):
    with pytest.raises(InputError) as caught:
        fields(path, **options)
    return caught.value.message


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("d.csv", as_csv(ROWS)),
        ("d.tsv", as_csv(ROWS, "\t")),
        ("d.jsonl", as_jsonl(ROWS)),
        ("bom.csv", b"\xef\xbb\xbf" + as_csv(ROWS)),
        ("bom.jsonl", b"\xef\xbb\xbf" + as_jsonl(ROWS)),
        ("d.csv.gz", gzip.compress(as_csv(ROWS), mtime=0)),
        ("d.jsonl.gz", gzip.compress(as_jsonl(ROWS), mtime=0)),
    ],
)
def test_every_text_form_gives_the_same_rows_as_often_as_it_is_read(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    records = open_records(str(tmp_path / name))
    assert [record.fields for record in records] == ROWS
    assert [record.fields for record in records] == ROWS
    records.close()


def test_parquet_gives_the_same_rows_with_their_types_and_only_the_columns_asked_for(tmp_path):
    rows = [{"i": 1, "f": 1.5, "b": True, "n": None, "t": "x", "l": [1, 2], "o": {"a": "b"}}]
    write_parquet(tmp_path / "d.parquet", rows)
    assert fields(tmp_path / "d.parquet") == rows
    (row,) = fields(tmp_path / "d.parquet", only={"i", "t", "absent"})
    assert row == {"i": 1, "t": "x"}
    assert type(fields(tmp_path / "d.parquet")[0]["i"]) is int


def test_times_and_decimals_of_parquet_come_as_exact_text(tmp_path):
    table = pa.table(
        {
            "when": pa.array([0], pa.timestamp("us", "UTC")),
            "cost": pa.array(["0.10"]).cast(pa.decimal128(9, 2)),
        }
    )
    pq.write_table(table, tmp_path / "d.parquet")
    assert fields(tmp_path / "d.parquet") == [{"when": "1970-01-01T00:00:00+00:00", "cost": "0.10"}]


def test_plain_lines_have_one_column_and_u2028_ends_none_of_them(tmp_path):
    (tmp_path / "d.txt").write_bytes("one\u2028two\n\nthree\x0bfour\r\n".encode())
    assert fields(tmp_path / "d.txt") == [{"text": "one\u2028two"}, {"text": "three\x0bfour"}]


def test_a_folder_is_its_regular_files_sorted_without_links_and_hidden_ones(tmp_path):
    for name, text in {"b.txt": "B", "a/z.md": "Z", "a/.hidden": "no", ".git/x": "no"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "link.txt").symlink_to(tmp_path / "b.txt")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert fields(tmp_path) == [{"path": "a/z.md", "text": "Z"}, {"path": "b.txt", "text": "B"}]


def test_a_folder_names_the_file_that_is_not_utf8(tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"ok \xff")
    assert refusal(tmp_path) == f"{tmp_path}/bad.txt is not UTF-8 text: byte 0xff at offset 3"


def test_standard_input_is_json_lines_or_what_is_said(tmp_path):
    assert fields("-", stdin=io.BytesIO(as_jsonl(ROWS))) == ROWS
    assert fields("-", stdin=io.BytesIO(as_csv(ROWS)), form="csv") == ROWS


def test_places_are_the_lines_where_rows_begin(tmp_path):
    (tmp_path / "d.csv").write_bytes(as_csv(ROWS))
    records = open_records(str(tmp_path / "d.csv"))
    assert [record.place for record in records] == [f"{tmp_path}/d.csv:{line}" for line in (2, 3, 5)]
    records.close()


def test_the_digest_follows_the_content(tmp_path):
    def digest(data):
        (tmp_path / "d" / "x.csv").write_bytes(data)
        found = [open_records(str(path)) for path in (tmp_path / "d", tmp_path / "d" / "x.csv")]
        digests = [records.sha256 for records in found]
        for records in found:
            records.close()
        return digests

    (tmp_path / "d").mkdir()
    first = digest(b"a\n1\n")
    assert digest(b"a\n1\n") == first
    assert not set(digest(b"a\n2\n")) & set(first)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("d.csv", b"a,b\n1,2\n1,2,3\n", ":3:1: a row of 3 fields, where the first line names 2 columns"),
        ("d.csv", b"a,b\n1\n", ":2:1: a row of 1 fields, where the first line names 2 columns"),
        ("d.csv", b"a,a\n1,2\n", ":1:1: the column 'a' is there twice"),
        ("d.csv", b"a,\n1,2\n", ":1:1: column 2 has no name"),
        ("d.csv", b'a,b\n1,2\n"x,2\n1,2\n', ":3:1: a quoted field begins in this row and never ends"),
        ("d.csv", b'a,b\n"x"y,2\n', ":2:1: ',' expected after '\"'"),
        ("d.csv", b"a,b\n1,\xe4\n", ":2:3: not UTF-8: byte 0xe4"),
        ("d.csv", b"a,b\r1,2\r", ":1:1: a carriage return that ends no line"),
        ("d.csv", b"a,b\n", " has no rows"),
        ("d.csv", b"", " has no rows"),
        ("d.csv", b"\xff\xfea\0", " can't be read as CSV: it is UTF-16"),
        ("d.jsonl", b'{"a":1}\n{"a":1,}\n', ":2:7: invalid JSON: a comma with nothing after it"),
        ("d.jsonl", b"[1]\n", ":1:1: a line must be a JSON object"),
        ("d.jsonl", b'{"a":"\\ud800"}\n', ":1:7: half of a surrogate pair"),
        ("d.txt", b"ok\nb\xff\n", ":2:2: not UTF-8: byte 0xff"),
        ("d.parquet", b"PAR1 no", " can't be read as Parquet"),
        ("d.doc", b"x", ": its suffix does not tell what it is"),
        ("d.parquet.gz", b"x", ": its suffix does not tell what it is"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, name, data, said):
    (tmp_path / name).write_bytes(data)
    assert refusal(tmp_path / name).startswith(f"{tmp_path}/{name}{said}")


def test_a_gzip_bomb_is_noticed(tmp_path):
    (tmp_path / "d.csv.gz").write_bytes(gzip.compress(b"a\n" + b"0" * 12_000_000))
    assert "bomb" in refusal(tmp_path / "d.csv.gz")


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_bytes(as_jsonl(ROWS))
    records = open_records(str(path))
    rows = iter(records)
    next(rows)
    with path.open("ab") as file:
        file.write(b'{"id":"d"}\n')
    with pytest.raises(InputError, match="changed while it was read"):
        list(rows)
    records.close()


CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_any_table_that_the_csv_module_writes_comes_back(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    wanted = [{"x": x, "y": y} for x, y in rows]
    path.write_bytes(as_csv(wanted))
    assert fields(path) == wanted


def test_parquet_is_no_stream_and_a_file_of_that_name_is_not_read_instead(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table({"x": [1]}), "stdin")
    with pytest.raises(InputError, match="can't be read from standard input"):
        open_records("-", form="parquet", stdin=io.BytesIO(b""))
