"""Vectors in files: bit for bit, whole or not there, and never over what is somebody else's."""

import builtins
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc

from batchrunner.core.crashpoint import KILLED
from batchrunner.core.errors import ConfigurationError, DatabaseError
from batchrunner.core.vectors import VectorBatch
from batchrunner.formats.export_vectors import export_vectors, vector_writer
from batchrunner.formats.export_vectors_base import Shard, VectorFacts, VectorSummary
from batchrunner.formats.export_vectors_columns import Kind, columns_of
from tests.formats.vectors import batches, bits, facts, kept_of, whole

DIM = 5
ROW = DIM * 4
FORMS = (".parquet", ".npy", ".jsonl", ".arrow")


def write(out: Path, count: int = 10, *, dim: int = DIM, size: int = 3, **more: Any) -> VectorSummary:
    kept, start, force = more.pop("kept", kept_of), more.pop("start", 0), more.pop("force", False)
    said = facts(count, dim, kept=kept, job=more.pop("job", "corpus"), snapshot=more.pop("snapshot", "s1"))
    shard_rows, written = more.pop("rows", 10**6), more.pop("written", lambda _: None)
    writer = vector_writer(str(out), said, shard=shard_rows * dim * 4, **more)
    brought = batches(count, dim, size, start=start, kept=kept)
    return export_vectors(brought, writer, start=start, force=force, written=written)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def flat(table: pa.Table) -> bytes:
    return bytes(table["embedding"].combine_chunks().flatten().to_numpy().tobytes())


# ---------------------------------------------------------------------------------------------- read by other programs


def test_pyarrow_reads_a_fixed_size_list_of_float32_and_what_the_file_says_of_itself(tmp_path: Path) -> None:
    write(tmp_path / "v.parquet")
    table = pq.read_table(tmp_path / "v.parquet")
    assert table.schema.field("embedding").type == pa.list_(pa.field("element", pa.float32(), nullable=False), DIM)
    assert [str(table.schema.field(name).type) for name in ("id", "title", "year", "score")] == [
        "string", "string", "int64", "double",
    ]  # fmt: skip
    assert table["id"].to_pylist() == [f"t-{row}" for row in range(10)]
    assert table["year"].to_pylist() == [1900 + row for row in range(10)]
    assert flat(table) == whole(10, DIM)
    said = pq.read_metadata(tmp_path / "v.parquet").metadata
    assert {k: said[b"batchrunner." + k] for k in (b"model", b"dimensions", b"count", b"version")} == {
        b"model": b"test/e5", b"dimensions": b"5", b"count": b"10", b"version": b"9.9",
    }  # fmt: skip
    assert pq.ParquetFile(tmp_path / "v.parquet").metadata.row_group(0).column(1).compression == "ZSTD"


def test_duckdb_reads_single_files_and_shards_bit_for_bit(tmp_path: Path) -> None:
    write(tmp_path / "one.parquet")
    write(tmp_path / "many.parquet", rows=4)
    for pattern in ("one.parquet", "many-*.parquet"):
        found = duckdb.sql(f"SELECT id, embedding, title FROM '{tmp_path}/{pattern}'").fetchall()
        assert [row[0] for row in found] == [f"t-{row}" for row in range(10)]
        assert bits([row[1] for row in found]) == whole(10, DIM)
        assert found[3][2] == "Ünicode 3"


def test_polars_reads_single_files_and_shards_bit_for_bit(tmp_path: Path) -> None:
    write(tmp_path / "one.parquet")
    write(tmp_path / "many.parquet", rows=4)
    for pattern in ("one.parquet", "many-*.parquet"):
        found = pl.read_parquet(tmp_path / pattern)
        assert found.schema["embedding"] == pl.Array(pl.Float32, DIM)
        assert found["embedding"].to_numpy().tobytes() == whole(10, DIM)
        assert found["id"].to_list() == [f"t-{row}" for row in range(10)]


def test_numpy_maps_the_array_into_memory_and_the_ids_stand_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "v.npy")
    array = np.load(tmp_path / "v.npy", mmap_mode="r")
    assert isinstance(array, np.memmap)
    assert (array.shape, array.dtype, array.flags["C_CONTIGUOUS"]) == ((10, DIM), np.dtype("<f4"), True)
    assert array.tobytes() == whole(10, DIM)
    lines = [json.loads(line) for line in (tmp_path / "v.ids.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines == [{"id": f"t-{row}", **kept_of(row)} for row in range(10)]
    said = json.loads((tmp_path / "v.facts.json").read_text())["batchrunner"]
    assert (said["model"], said["dimensions"], said["count"], said["version"]) == ("test/e5", DIM, 10, "9.9")


@pytest.mark.parametrize(("count", "dimensions"), [(0, 1), (1, 1), (9_999_999, 1024), (10**12, 3072)])
def test_a_header_is_the_one_that_numpy_itself_would_write(count: int, dimensions: int) -> None:
    import io

    from batchrunner.formats.export_vectors_plain import npy_header

    file = io.BytesIO(npy_header(count, dimensions))
    assert np.lib.format.read_magic(file) == (1, 0)
    assert np.lib.format.read_array_header_1_0(file) == ((count, dimensions), False, np.dtype("<f4"))
    assert file.tell() % 64 == 0 == len(file.read())


def test_lines_hold_the_shortest_floats_that_read_back_as_the_same_float32(tmp_path: Path) -> None:
    write(tmp_path / "v.jsonl")
    lines = (tmp_path / "v.jsonl").read_text(encoding="utf-8").splitlines()
    read = [json.loads(line) for line in lines]
    assert bits([line["embedding"] for line in read]) == whole(10, DIM)
    assert [{k: line[k] for k in ("id", "title", "year", "score")} for line in read] == [
        {"id": f"t-{row}", **kept_of(row)} for row in range(10)
    ]
    assert read[0]["batchrunner"] == {"model": "test/e5", "dimensions": DIM, "version": "9.9", "job": "corpus"}
    assert ",0.1" in "".join(lines)  # and not 0.10000000149011612


def test_arrow_files_hold_the_same_table(tmp_path: Path) -> None:
    write(tmp_path / "v.arrow")
    with pa.memory_map(str(tmp_path / "v.arrow")) as file:
        table = ipc.open_file(file).read_all()
        assert flat(table) == whole(10, DIM)
        assert table["year"].to_pylist() == [1900 + row for row in range(10)]
        assert table.schema.metadata[b"batchrunner.count"] == b"10"


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_dimensions_counts_and_sizes_come_back_bit_for_bit(data: st.DataObject) -> None:
    import tempfile

    dim = data.draw(st.integers(1, 40))
    count = data.draw(st.integers(0, 60))
    size, rows = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 70))
    form = data.draw(st.sampled_from(FORMS))
    heard: list[Shard] = []
    with tempfile.TemporaryDirectory() as name:
        out = Path(name, f"v{form}")
        summary = write(out, count, dim=dim, size=size, rows=rows, written=heard.append)
        assert [shard.first_row for shard in heard] == [sum(s.rows for s in heard[:n]) for n in range(len(heard))]
        assert sum(shard.rows for shard in heard) == count == summary.rows == summary.fresh
        if form == ".parquet":
            assert len(summary.paths) == max(1, -(-count // rows))
            table = pa.concat_tables(pq.read_table(path) for path in summary.paths)
            assert flat(table) == whole(count, dim)
            assert table["id"].to_pylist() == [f"t-{row}" for row in range(count)]
        elif form == ".npy":
            assert np.load(out).tobytes() == whole(count, dim)
        elif form == ".jsonl":
            read = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
            assert bits([line["embedding"] for line in read]) == whole(count, dim)
        else:
            assert flat(ipc.open_file(pa.BufferReader(out.read_bytes())).read_all()) == whole(count, dim)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_every_finite_float32_survives_as_json(found: list[float]) -> None:
    import tempfile

    packed = np.array(found, "<f4").tobytes()
    said = VectorFacts(job="j", model="m", dimensions=len(found), count=1, version="1")
    with tempfile.TemporaryDirectory() as name:
        out = f"{name}/v.jsonl"
        export_vectors([VectorBatch(["a"], packed, len(found), [b"{}"])], vector_writer(out, said))
        line = json.loads(Path(out).read_bytes())
    assert np.array(line["embedding"], "<f4").tobytes() == packed


# --------------------------------------------------------------------------------------------------- the kept columns


def kinds(*rows: str) -> dict[str, Kind]:
    return {column.name: column.kind for column in columns_of(row.encode() for row in rows)}


def test_the_type_of_a_column_is_decided_by_all_of_its_values() -> None:
    assert kinds('{"a":1}', '{"a":2.5}') == {"a": Kind.FLOAT}
    assert kinds('{"a":null}', '{"a":1}') == {"a": Kind.INTEGER}
    assert kinds('{"a":true}', "{}", '{"a":false}') == {"a": Kind.BOOLEAN}
    assert kinds('{"a":true}', '{"a":1}') == {"a": Kind.TEXT}
    assert kinds('{"a":1}', '{"a":"x"}') == {"a": Kind.TEXT}
    assert kinds('{"a":null}') == {"a": Kind.TEXT}
    assert kinds('{"a":"x"}', '{"a":[1]}') == {"a": Kind.JSON}
    assert kinds('{"a":9007199254740993}') == {"a": Kind.INTEGER}
    assert kinds('{"a":9007199254740993}', '{"a":0.5}') == {"a": Kind.TEXT}  # as a double it would be another number
    assert kinds('{"a":9223372036854775808}') == {"a": Kind.TEXT}
    assert kinds('{"a":1e999}') == {"a": Kind.TEXT}
    assert kinds('{"b":1}', '{"a":1}') == {"b": Kind.INTEGER, "a": Kind.INTEGER}


def test_a_column_that_turns_to_floats_or_null_late_is_written_all_the_same(tmp_path: Path) -> None:
    def kept(row: int) -> dict[str, Any]:
        return {"n": row if row < 90 else row + 0.5, "late": None if row < 95 else "there", "gone": [row] if row else 1}

    write(tmp_path / "v.parquet", 100, rows=30, kept=kept)
    table = pq.read_table([tmp_path / f"v-{n:05d}.parquet" for n in range(4)])
    assert table["n"].to_pylist() == [float(row) if row < 90 else row + 0.5 for row in range(100)]
    assert table["late"].to_pylist() == [None] * 95 + ["there"] * 5
    assert table["gone"].to_pylist() == ["1", *(f"[{row}]" for row in range(1, 100))]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abc"),
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False)
            | st.text()
            | st.lists(st.integers()),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_kept_values_come_back_as_themselves_or_as_their_text(rows: list[dict[str, Any]]) -> None:
    from batchrunner.formats.export_vectors_columns import values

    texts = [json.dumps(row, separators=(",", ":")).replace("Infinity", "1e999").encode() for row in rows]
    found = columns_of(texts)
    for column, brought in zip(found, values(texts, found), strict=True):
        for row, value in zip(rows, brought, strict=True):
            meant = row.get(column.name)
            if meant is None or value is None:
                assert meant is None is value
            elif column.kind is Kind.JSON or (column.kind is Kind.TEXT and not isinstance(meant, str)):
                assert json.loads(value) == meant
            else:
                assert value == meant.encode("utf-8", "replace").decode() if isinstance(meant, str) else value == meant


@pytest.mark.parametrize("name", ["id", "embedding", "Embedding", "batchrunner"])
def test_a_kept_column_with_the_name_of_ours_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        facts(1, DIM, kept=lambda _: {name: 1})


# ------------------------------------------------------------------------------------------------------- whole or not


def test_shards_are_told_of_once_they_are_there_and_whole(tmp_path: Path) -> None:
    def look(shard: Shard) -> None:
        assert pq.read_table(shard.path).num_rows == shard.rows
        heard.append((shard.path.name, shard.first_row, shard.rows))

    heard: list[tuple[str, int, int]] = []
    summary = write(tmp_path / "v.parquet", rows=4, written=look)
    assert heard == [("v-00000.parquet", 0, 4), ("v-00001.parquet", 4, 4), ("v-00002.parquet", 8, 2)]
    assert summary.paths == tuple(str(tmp_path / name) for name, _, _ in heard)
    assert names(tmp_path) == [name for name, _, _ in heard]


def test_an_export_that_was_stopped_goes_on_with_the_next_shard(tmp_path: Path) -> None:
    def stop(shard: Shard) -> None:
        if shard.first_row == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "v.parquet", rows=4, written=stop)
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in names(tmp_path)}
    assert list(before) == ["v-00000.parquet", "v-00001.parquet"]
    assert vector_writer(str(tmp_path / "v.parquet"), facts(10, DIM), shard=4 * ROW).done() == 8
    heard: list[Shard] = []
    summary = write(tmp_path / "v.parquet", rows=4, start=8, written=heard.append)
    assert [(shard.first_row, shard.rows) for shard in heard] == [(8, 2)]
    assert (summary.rows, summary.fresh) == (10, 2)
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in before} == before
    assert flat(pa.concat_tables(pq.read_table(path) for path in summary.paths)) == whole(10, DIM)


def test_rows_that_are_in_no_shard_and_not_brought_are_an_error(tmp_path: Path) -> None:
    write(tmp_path / "v.parquet", rows=4)
    (tmp_path / "v-00001.parquet").unlink()
    with pytest.raises(ConfigurationError, match="rows 4 to 7"):
        write(tmp_path / "v.parquet", rows=4, start=8)


def test_shards_of_other_content_are_gone_before_the_first_new_one_is_there(tmp_path: Path) -> None:
    write(tmp_path / "v.parquet", 20, rows=4)
    seen: list[list[str]] = []
    write(tmp_path / "v.parquet", rows=4, snapshot="s2", written=lambda _: seen.append(names(tmp_path)))
    assert seen == [[f"v-{n:05d}.parquet" for n in range(upto)] for upto in (1, 2, 3)]


def test_one_file_takes_the_place_of_shards_and_the_other_way_round(tmp_path: Path) -> None:
    write(tmp_path / "v.parquet", rows=4)
    write(tmp_path / "v.parquet", snapshot="s2")
    assert names(tmp_path) == ["v.parquet"]
    write(tmp_path / "v.parquet", rows=4)
    assert names(tmp_path) == ["v-00000.parquet", "v-00001.parquet", "v-00002.parquet"]
    write(tmp_path / "w.parquet", shards=True)
    assert "w-00000.parquet" in names(tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_vectors_that_are_too_few_too_many_or_cut_replace_nothing(form: str, tmp_path: Path) -> None:
    out = tmp_path / f"v{form}"
    write(out)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    few, many, cut = batches(9, DIM, 3), batches(11, DIM, 3), [VectorBatch(["a"], b"123", DIM, [b"{}"])]
    for brought in (few, many, cut, [batch._replace(dimensions=DIM + 1) for batch in batches(10, DIM, 3)]):
        with pytest.raises(DatabaseError):
            export_vectors(brought, vector_writer(str(out), facts(10, DIM, snapshot="")))
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


def test_a_vector_that_is_not_finite_is_no_json(tmp_path: Path) -> None:
    said = VectorFacts(job="j", model="m", dimensions=1, count=1, version="1")
    with pytest.raises(DatabaseError, match="finite"):
        export_vectors(
            [VectorBatch(["a"], np.array([np.nan], "<f4").tobytes(), 1, [b"{}"])],
            vector_writer(str(tmp_path / "v.jsonl"), said),
        )
    assert names(tmp_path) == []


CHILD = """
import sys
from tests.formats.test_export_vectors import write
from pathlib import Path
write(Path(sys.argv[1]), rows=4, snapshot=sys.argv[2])
"""


def killed(out: Path, point: str, snapshot: str = "s1") -> None:
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(out), snapshot],
        env={**os.environ, "BATCHRUNNER_CRASHPOINT": point},
        check=False,
        timeout=60,
    )
    assert ended.returncode == KILLED


@pytest.mark.slow
@pytest.mark.parametrize("point", ["export.rename:2", "export.renamed:2"])
def test_a_kill_between_shards_leaves_no_half_one_and_the_rest_follows(point: str, tmp_path: Path) -> None:
    out = tmp_path / "v.parquet"
    killed(out, point)
    there = sorted(tmp_path.glob("v-*.parquet"))
    assert [pq.read_table(path).num_rows for path in there] == [4] * (1 if point.startswith("export.rename:") else 2)
    summary = write(out, rows=4)
    assert summary.fresh == 10 - 4 * len(there)
    assert summary.swept == (1 if point.startswith("export.rename:") else 0)
    assert names(tmp_path) == ["v-00000.parquet", "v-00001.parquet", "v-00002.parquet"]
    assert flat(pa.concat_tables(pq.read_table(path) for path in summary.paths)) == whole(10, DIM)


@pytest.mark.slow
@pytest.mark.parametrize("point", ["export.renamed:1", "export.renamed:2"])
def test_an_array_that_is_there_belongs_to_its_ids_wherever_the_export_was_killed(point: str, tmp_path: Path) -> None:
    out = tmp_path / "v.npy"
    write(out, 7, snapshot="old")
    killed(out, point)
    if out.exists():
        assert len(np.load(out)) == len((tmp_path / "v.ids.jsonl").read_text().splitlines()) == 7
    write(out, 8)
    assert np.load(out).shape == (8, DIM)
    assert not list(tmp_path.glob(".*"))


# ---------------------------------------------------------------------------------------------- what is somebody else's


@pytest.mark.parametrize("form", FORMS)
def test_what_this_job_wrote_is_replaced_and_another_jobs_file_only_by_force(form: str, tmp_path: Path) -> None:
    out = tmp_path / f"v{form}"
    write(out, 6)
    write(out, 7, snapshot="s2")
    with pytest.raises(ConfigurationError, match="not written from this job"):
        write(out, 7, job="other")
    write(out, 7, job="other", force=True)
    with pytest.raises(ConfigurationError):
        write(out, 7)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("content", [b"precious", b"PAR1 precious PAR1", b"ARROW1\0\0 precious ARROW1"])
def test_a_file_of_somebody_else_is_left_alone(form: str, content: bytes, tmp_path: Path) -> None:
    out = tmp_path / f"v{form}"
    out.write_bytes(content)
    with pytest.raises(ConfigurationError, match="not written from this job"):
        write(out)
    assert out.read_bytes() == content


def test_an_array_that_took_the_place_of_ours_is_not_ours(tmp_path: Path) -> None:
    write(tmp_path / "v.npy")
    (tmp_path / "v.npy").write_bytes(b"precious")
    with pytest.raises(ConfigurationError):
        write(tmp_path / "v.npy")


def test_a_shard_of_somebody_else_would_be_read_with_ours_and_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v-00009.parquet").write_bytes(b"precious")
    with pytest.raises(ConfigurationError, match="v-00009"):
        write(tmp_path / "v.parquet", rows=4)
    write(tmp_path / "v.parquet", rows=4, force=True)
    assert len(names(tmp_path)) == 3


def test_files_that_only_look_like_shards_are_nobodys_business(tmp_path: Path) -> None:
    others = ["v-20260101.parquet", "v-0001.parquet", "v-00001.parquet.bak", "vv-00001.parquet"]
    for name in others:
        (tmp_path / name).write_bytes(b"precious")
    write(tmp_path / "v.parquet", rows=4)
    (tmp_path / "v-00007.parquet").write_bytes(b"precious")
    write(tmp_path / "v.parquet", snapshot="s2", force=True)  # one file: it is not read with that one
    assert names(tmp_path) == sorted([*others, "v-00007.parquet", "v.parquet"])


@pytest.mark.parametrize("form", FORMS)
def test_a_link_a_folder_and_a_pipe_are_never_replaced(form: str, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / f"link{form}").symlink_to("victim")
    (tmp_path / f"folder{form}").mkdir()
    os.mkfifo(tmp_path / f"pipe{form}")
    for name in ("link", "folder", "pipe"):
        with pytest.raises(ConfigurationError, match="not a regular file"):
            write(tmp_path / f"{name}{form}", force=True)
    assert (tmp_path / "victim").read_bytes() == b"precious"


@pytest.mark.parametrize("form", FORMS)
def test_two_exports_of_the_same_vectors_give_the_same_bytes(form: str, tmp_path: Path) -> None:
    write(tmp_path / f"v{form}", size=3)
    first = (tmp_path / f"v{form}").read_bytes()
    write(tmp_path / f"v{form}", size=4)
    assert (tmp_path / f"v{form}").read_bytes() == first


@pytest.mark.parametrize("form", [".parquet", ".arrow", ".jsonl"])
def test_an_extra_that_is_not_there_says_its_name(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name.split(".")[0] == "pyarrow":
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError) as refused:
        write(tmp_path / f"v{form}")
    assert "pyarrow" in refused.value.message
    assert refused.value.hint == "pip install 'batchrunner[data]'"
    write(tmp_path / "v.npy")  # needs nothing


def test_a_suffix_without_a_form_and_a_folder_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="suffix"):
        write(tmp_path / "v.csv")
    with pytest.raises(ConfigurationError, match="no folder"):
        write(tmp_path / "nowhere" / "v.parquet")


@pytest.mark.slow
def test_memory_is_bounded_by_a_batch_and_not_by_the_corpus(tmp_path: Path) -> None:
    code = """
import resource, sys
from batchrunner.core.vectors import VectorBatch
from batchrunner.formats.export_vectors import export_vectors, vector_writer
from batchrunner.formats.export_vectors_base import VectorFacts
import pyarrow, pyarrow.parquet, pyarrow.ipc, pyarrow.compute
out, count = sys.argv[1], int(sys.argv[2])
block = bytes(100 * 1024 * 4)
said = VectorFacts(job="j", model="m", dimensions=1024, count=count, version="1")
made = (VectorBatch([str(n * 100 + i) for i in range(100)], block, 1024, [b"{}"] * 100) for n in range(count // 100))
export_vectors(made, vector_writer(out, said, shard=64 << 20))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", code, str(tmp_path / name), str(count)],
                capture_output=True,
                check=True,
                timeout=60,
            ).stdout
        )
        for name, count in (("s.parquet", 20_000), ("l.parquet", 80_000))
    ]
    assert peaks[1] - peaks[0] < 40, peaks
