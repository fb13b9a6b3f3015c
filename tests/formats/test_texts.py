"""Rows of every kind of source as texts: named, with what is kept of them, and what can't be one told by its place."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchrunner.api.corpora import open_texts
from batchrunner.core.errors import ConfigurationError, InputError
from batchrunner.formats.texts import TextFields

ROWS = [{"id": "a", "text": "ein Haus", "year": 1990}, {"id": "b", "text": "ein, \"Haus\"", "year": None}]  # fmt: skip


def write(folder: Path, name: str) -> str:
    path = folder / name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif name.endswith(".jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        cut = "," if name.endswith(".csv") else "\t"
        quoted = [f'"{row["text"]}"'.replace('"Haus"', '""Haus""') for row in ROWS]
        lines = [cut.join((row["id"], text, str(row["year"] or ""))) for row, text in zip(ROWS, quoted, strict=True)]
        path.write_text(cut.join(ROWS[0]) + "\n" + "\n".join(lines) + "\n")
    return str(path)


def read(source: str, **fields: object) -> list[tuple[str, str, object]]:
    with open_texts(source, TextFields(**fields)) as texts:  # type: ignore[arg-type]
        assert list(texts) == list(texts), "it can be read twice"
        return [(text.id, text.text, json.loads(text.kept)) for text in texts]


@pytest.mark.parametrize("name", ["d.jsonl", "d.parquet", "d.csv", "d.tsv"])
def test_texts_come_with_their_names_and_the_columns_that_are_kept(name: str, tmp_path: Path) -> None:
    found = read(write(tmp_path, name), id="id", keep=("year",))
    typed = name in ("d.jsonl", "d.parquet")
    assert found == [
        ("a", "ein Haus", {"year": 1990 if typed else "1990"}),
        ("b", 'ein, "Haus"', {"year": None if typed else ""}),
    ]
    assert [kept for *_, kept in read(write(tmp_path, name), id="id", keep=("*",))] == [kept for *_, kept in found]


def test_without_a_column_of_names_lines_rows_and_paths_are_the_names(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("one\n\nthree\n")
    assert read(str(tmp_path / "lines.txt")) == [("1", "one", {}), ("3", "three", {})]
    folder = tmp_path / "notes"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.md").write_text("A")
    (folder / "sub" / "b.md").write_text("B")
    assert read(str(folder)) == [("a.md", "A", {}), ("sub/b.md", "B", {})]


def test_a_bad_file_of_a_folder_is_told_by_its_path_alone(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("A")
    with open_texts(str(tmp_path), TextFields(keep=("path",))) as texts:
        (record,) = texts._records
    assert record.place == f"{tmp_path}/a.md"


def test_a_name_that_is_used_twice_is_found_among_millions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchrunner.formats.naming.HELD", 8)
    lines = [{"id": f"n{n}", "text": "x"} for n in range(20_000)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with open_texts(str(tmp_path / "d.jsonl"), TextFields(id="id")) as texts:
        assert sum(1 for _ in texts) == 20_000
    lines[19_999]["id"] = "n5"
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with (
        pytest.raises(InputError, match=r"d.jsonl:20000:1: the name \"n5\" was used at .*d.jsonl:6 already"),
        open_texts(str(tmp_path / "d.jsonl"), TextFields(id="id")) as texts,
    ):
        list(texts)


def test_a_cell_without_a_value_is_an_empty_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", None]}), tmp_path / "d.parquet")
    assert [text for _, text, _ in read(str(tmp_path / "d.parquet"))] == ["a", ""]


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ({"id": "a", "text": "x"}, 'd.jsonl:2:1: the name "a" was used at d.jsonl:1 already'),
        ({"id": "b"}, 'd.jsonl:2:1: there is no column "text"'),
        ({"id": "b", "text": ["x"]}, 'd.jsonl:2:1: the column "text" holds no text, but a list'),
        ({"id": True, "text": "x"}, 'd.jsonl:2:1: the column "id" makes no name'),
        ({"id": "", "text": "x"}, 'd.jsonl:2:1: the column "id" makes no name'),
        ({"id": "\ud800", "text": "x"}, "d.jsonl:2:9: half of a surrogate pair"),
    ],
)
def test_what_is_no_text_or_no_name_is_told_by_its_place(second: dict[str, object], why: str, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ({"id": "a", "text": "x"}, second)))
    with pytest.raises(InputError) as caught:
        read(str(path), id="id")
    assert why in str(caught.value).replace(f"{tmp_path}/", "")


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    for fields in ({"text": "body"}, {"id": "body"}, {"keep": ("body",)}):
        with pytest.raises(InputError) as caught:
            read(write(tmp_path, "d.csv"), **fields)
        assert 'has no column "body"' in str(caught.value)
        assert "id, text, year" in (caught.value.hint or "")


def test_a_column_with_the_name_of_one_that_is_written_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        TextFields(keep=("Embedding",))
    (tmp_path / "d.jsonl").write_text('{"name": 1, "text": "x", "id": 2}\n')
    with pytest.raises(InputError, match="what is written beside the vectors has that name"):
        read(str(tmp_path / "d.jsonl"), id="name", keep=("*",))


def test_what_is_read_of_a_source_is_a_part_of_what_it_is(tmp_path: Path) -> None:
    source = write(tmp_path, "d.jsonl")
    asked = [TextFields(), TextFields(id="id"), TextFields(id="id", keep=("year",)), TextFields(text="id")]
    found = set()
    for fields in asked:
        with open_texts(source, fields) as texts:
            found.add(texts.sha256)
    assert len(found) == len(asked)
