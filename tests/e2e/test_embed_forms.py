"""What goes into ``embed`` and comes out of it, in every form: real processes, and a provider behind a real socket."""

import csv
import gzip
import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from batchrunner.core.crashpoint import KILLED
from batchrunner.simulator.vectors import vector_of
from batchrunner.store.check import check
from tests.e2e.forks import Forks
from tests.e2e.place import EMBED, Box, Place, boxed, placed, quiet

pytestmark = pytest.mark.slow

DIM = 24
ROWS: list[dict[str, Any]] = [
    {"id": f"d-{n}", "text": f"Sturm und Drang, {n % 9}: \u201ewide\u201c, \u2028narrow, \U0001f30a", "lang": "de"}
    for n in range(12)
]
COMMON = ("--id", "id", "--keep", "lang", "--db", "q.db", "--yes", "--progress", "none")
FORMS = ["v.parquet", "v.npy", "v.arrow", "v.jsonl", "-"]
SMALL_SHARDS = (
    "from batchrunner.formats.export_vectors import vector_writer\n"
    f"vector_writer.__kwdefaults__['shard'] = {4 * DIM * 3}"
)
"""Three vectors in a shard."""


@pytest.fixture
def box() -> Iterator[Box]:
    with boxed(poison="POISON", embedding_dimensions=DIM) as opened:
        yield opened


def embed(source: str, out: str, *more: str) -> tuple[str, ...]:
    return ("embed", source, "-o", out, "--model", EMBED, *COMMON, *more)


def bits(text: str) -> bytes:
    """The vector that the server gives for a text."""
    return struct.pack(f"<{DIM}f", *vector_of(EMBED, text, DIM))


def expected(rows: list[dict[str, Any]]) -> list[tuple[str, str, bytes]]:
    return [(row["id"], row["lang"], bits(row["text"])) for row in rows]


def of_table(table: pa.Table) -> list[tuple[str, str, bytes]]:
    assert table.schema.field("embedding").type == pa.list_(pa.field("element", pa.float32(), nullable=False), DIM)
    vectors = [np.asarray(each, "<f4").tobytes() for each in table["embedding"].to_pylist()]
    return list(zip(table["id"].to_pylist(), table["lang"].to_pylist(), vectors, strict=True))


def of_lines(lines: list[dict[str, Any]]) -> list[tuple[str, str, bytes]]:
    good = [line for line in lines if "embedding" in line]
    return [(line["id"], line["lang"], struct.pack(f"<{DIM}f", *line["embedding"])) for line in good]


def read(place: Place, out: str, stdout: str = "") -> list[tuple[str, str, bytes]]:
    """What a program of somebody else reads in an output: names, a kept column, and the bits of the vectors."""
    path = place.folder / out
    if out.endswith(".parquet"):
        return of_table(pq.read_table(path))
    if out.endswith(".arrow"):
        return of_table(pa.ipc.open_file(path).read_all())
    if out.endswith(".npy"):
        vectors, named = np.load(path), place.lines(f"{path.stem}.ids.jsonl")
        assert (vectors.dtype.str, vectors.shape) == ("<f4", (len(named), DIM))
        return [(line["id"], line["lang"], row.tobytes()) for line, row in zip(named, vectors, strict=True)]
    return of_lines([json.loads(line) for line in stdout.splitlines()] if out == "-" else place.lines(out))


@pytest.mark.parametrize("base64", ["give", "refuse", "ignore"])
def test_every_form_holds_the_vectors_of_the_server_bit_for_bit_however_it_sends_them(
    base64: Literal["give", "refuse", "ignore"], box: Box, forks: Forks, tmp_path: Path
) -> None:
    box.change(base64_vectors=base64)
    with placed(tmp_path, box) as place:
        place.file(ROWS, "docs.jsonl")
        for number, out in enumerate(FORMS):
            words = embed("docs.jsonl", out, "--name", "docs")  # the first one sends, the others export
            ended = (
                forks.run(place, *words)
                if not number
                else forks.run(place, "results", "docs", "-o", out, "--db", "q.db")
            )
            assert ended.code == 0, ended.err
            assert read(place, out, ended.out) == expected(ROWS)
        assert check(place.db) == []


def write(place: Place, name: str) -> str:
    """Write the rows in the form that a name's suffix says."""
    path, text = place.folder / name, io.StringIO(newline="")
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(ROWS), path)
        return name
    if ".jsonl" in name:
        text.writelines(json.dumps(row) + "\n" for row in ROWS)
    else:
        writer = csv.DictWriter(text, list(ROWS[0]), delimiter="\t" if name.endswith(".tsv") else ",")
        writer.writeheader()
        writer.writerows(ROWS)
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return name


def test_every_form_of_a_source_is_the_same_corpus_so_that_nothing_is_sent_twice(
    box: Box, forks: Forks, tmp_path: Path
) -> None:
    with placed(tmp_path, box) as place:
        names = [write(place, f"docs.{suffix}") for suffix in ("csv", "tsv", "jsonl", "parquet", "csv.gz")]
        for name in names:
            ended = forks.run(place, *embed(name, "out.jsonl"))
            assert ended.code == 0, ended.err
            assert of_lines(place.lines()) == expected(ROWS), name
        given = (place.folder / "docs.tsv").read_bytes()
        ended = place.run(*embed("-", "out.jsonl", "--format", "tsv"), stdin=given)
        assert ended.code == 0, ended.err
        assert of_lines(place.lines()) == expected(ROWS)
        assert box.arrived == 1
        assert [job[0] for job in place.rows("SELECT name FROM jobs")] == ["out"]


def test_plain_lines_and_files_of_a_folder_are_named_by_line_and_path(box: Box, forks: Forks, tmp_path: Path) -> None:
    with placed(tmp_path, box) as place:
        (place.folder / "notes" / "deep").mkdir(parents=True)
        for name in ("b.md", "deep/a.md"):
            (place.folder / "notes" / name).write_text(f"text of {name}")
        (place.folder / "lines.txt").write_text("text of b.md\n\ntext of deep/a.md\n")
        common = ("--model", EMBED, "--db", "q.db", "--yes", "--progress", "none")
        for source, names in (("lines.txt", ["1", "3"]), ("notes", ["b.md", "deep/a.md"])):
            ended = forks.run(place, "embed", source, "-o", "out.jsonl", "--name", source, "--force", *common)
            assert ended.code == 0, ended.err
            found = [(line["id"], struct.pack(f"<{DIM}f", *line["embedding"])) for line in place.lines()]
            assert found == [(names[0], bits("text of b.md")), (names[1], bits("text of deep/a.md"))]
        inside = forks.run(place, "embed", "notes", "-o", "notes/out.jsonl", *common)
        assert (inside.code, "lies in the folder that is read" in inside.err) == (2, True)
        assert place.rows("SELECT count(*) FROM jobs") == [(2,)]


def test_texts_without_a_vector_are_named_with_the_reason_and_their_file_goes_when_they_are_mended(
    box: Box, forks: Forks, tmp_path: Path
) -> None:
    bad = {"d-2": ("POISON", "invalid_request"), "d-4": ("", "empty"), "d-7": ("word " * 2_000, "too_long")}
    spoiled = [row | {"text": bad[row["id"]][0]} if row["id"] in bad else row for row in ROWS]
    with placed(tmp_path, box) as place:
        place.file(spoiled, "docs.jsonl")
        ended = forks.run(place, *embed("docs.jsonl", "v.npy"))
        assert ended.code == 3, ended.err
        assert "without a vector: v.errors.jsonl (3 texts)" in ended.err
        told = [(line["id"], line["error"]["kind"]) for line in place.lines("v.errors.jsonl")]
        assert told == [(name, reason) for name, (_, reason) in bad.items()]
        good = [row for row in ROWS if row["id"] not in bad]
        assert read(place, "v.npy") == expected(good)
        piped = forks.run(place, "results", "v", "--db", "q.db")
        lines = [json.loads(line) for line in piped.out.splitlines()]
        assert (of_lines(lines), [line["id"] for line in lines if "error" in line]) == (expected(good), list(bad))
        advice = forks.run(place, "errors", "v", "--db", "q.db")
        assert "mend them in the source or leave them out, and embed it again" in advice.err
        fields = forks.run(place, "results", "v", "-o", "v.jsonl", "--fields", "a", "--db", "q.db")
        assert (fields.code, "job v is a corpus: it has vectors" in fields.err) == (2, True)
        place.file(ROWS, "docs.jsonl")
        assert forks.run(place, *embed("docs.jsonl", "v.npy")).code == 0
        assert (read(place, "v.npy"), (place.folder / "v.errors.jsonl").exists()) == (expected(ROWS), False)


@pytest.mark.parametrize("crash", ["export.rename:2", "export.renamed:3"])
def test_an_export_killed_between_its_shards_goes_on_and_a_grown_corpus_leaves_none_of_the_old_ones(
    crash: str, box: Box, forks: Forks, tmp_path: Path
) -> None:
    with placed(tmp_path, box) as place:
        place.file(ROWS, "docs.jsonl")
        words = embed("docs.jsonl", "v.parquet")
        assert forks.run(place, *words, crash=crash, prelude=SMALL_SHARDS).code == KILLED
        whole = {path: path.stat().st_mtime_ns for path in place.folder.glob("v-*.parquet")}
        assert len(whole) in (1, 3)
        ended = forks.run(place, *words, prelude=SMALL_SHARDS)
        assert ended.code == 0, ended.err
        assert {path: path.stat().st_mtime_ns for path in whole} == whole, "what was whole was left alone"
        assert shards(place) == expected(ROWS)
        place.file(ROWS[:-4], "docs.jsonl")
        assert forks.run(place, *words, prelude=SMALL_SHARDS).code == 0
        assert shards(place) == expected(ROWS[:-4])
        assert box.arrived == 1


def shards(place: Place) -> list[tuple[str, str, bytes]]:
    """What those read who give the pattern."""
    return [row for path in sorted(place.folder.glob("v-*.parquet")) for row in of_table(pq.read_table(path))]


def test_results_beside_a_live_run_are_a_snapshot_in_every_form(box: Box, forks: Forks, tmp_path: Path) -> None:
    box.change(latency=0.06, latency_jitter=0.9)
    rows = [row | {"id": f"d-{n}", "text": f"text {n % 280}"} for n, row in enumerate(ROWS * 30)]
    right = {row[0]: row for row in expected(rows)}
    with placed(tmp_path, box) as place:
        place.file(rows, "docs.jsonl")
        run = place.start(*embed("docs.jsonl", "all.npy", "--pack", "3", "--concurrency", "4", "--name", "docs"))
        box.await_calls(8)
        sizes = []
        for number in range(60):
            out = f"part.{('npy', 'parquet', 'jsonl')[number % 3]}"
            taken = forks.run(place, "results", "docs", "-o", out, "--db", "q.db")
            assert (taken.code, quiet(taken.err)) == (0, True), taken.err
            found = read(place, out)
            assert found == [right[name] for name, _, _ in found]
            sizes.append(len(found))
            if run.process.poll() is not None:
                break
        assert run.end().code == 0, run.said
        assert read(place, "all.npy") == expected(rows)
        assert sizes == sorted(sizes)
        assert len(set(sizes)) > 2, "it was taken while vectors came in"


def test_a_name_that_is_there_twice_is_refused_with_both_places(box: Box, forks: Forks, tmp_path: Path) -> None:
    with placed(tmp_path, box) as place:
        place.file([*ROWS, ROWS[3]], "docs.jsonl")
        ended = forks.run(place, *embed("docs.jsonl", "v.npy"))
        assert (ended.code, box.arrived) == (5, 0)
        assert 'docs.jsonl:13:1: the name "d-3" was used at docs.jsonl:4 already' in ended.err
        assert place.rows("SELECT count(*) FROM jobs") == [(0,)]


@pytest.mark.parametrize(
    ("out", "why"),
    [
        ("gone/v.npy", "there is no folder gone"),
        ("mine.parquet", "was not written from this job"),
        ("docs.jsonl", "is what is read here"),
        ("v.csv", "its suffix names no form"),
    ],
)
def test_what_can_not_be_written_is_said_before_a_text_is_queued(
    out: str, why: str, box: Box, forks: Forks, tmp_path: Path
) -> None:
    with placed(tmp_path, box) as place:
        place.file(ROWS, "docs.jsonl")
        (place.folder / "mine.parquet").write_text("a file of somebody else")
        ended = forks.run(place, *embed("docs.jsonl", out, *(["--force"] if out == "docs.jsonl" else [])))
        assert (ended.code, why in ended.err) == (2, True), ended.err
        assert (box.arrived, (place.folder / "mine.parquet").read_text()) == (0, "a file of somebody else")
        assert not place.db.exists() or place.rows("SELECT count(*) FROM jobs") == [(0,)]


BLOCKED = """
import sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pyarrow", "numpy"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Gone())
for name in [name for name in sys.modules if name.split(".")[0] in ("pyarrow", "numpy")]:
    del sys.modules[name]
"""


@pytest.mark.parametrize("out", ["v.parquet", "v.jsonl", "-"])
def test_without_the_extra_its_name_is_said_before_a_text_is_sent(
    out: str, box: Box, forks: Forks, tmp_path: Path
) -> None:
    with placed(tmp_path, box) as place:
        place.file(ROWS, "docs.jsonl")
        ended = forks.run(place, *embed("docs.jsonl", out, "--name", "docs"), prelude=BLOCKED)
        assert (ended.code, "batchrunner[data]" in ended.err) == (2, True), ended.err
        assert (box.arrived, place.rows("SELECT count(*) FROM jobs")) == (0, [(0,)])
        ended = forks.run(place, *embed("docs.jsonl", "v.npy", "--name", "docs"), prelude=BLOCKED)
        assert ended.code == 0, ended.err
        assert read(place, "v.npy") == expected(ROWS)
