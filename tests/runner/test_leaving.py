"""Vectors that leave the database shard by shard: no kill between any two steps loses one, or writes one twice."""

import shutil
import struct
import sys

import pyarrow.parquet as pq
import pytest

from batchrunner.api import session
from batchrunner.core import crashpoint
from batchrunner.core.corpus import Text
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.packing import PackLimits
from batchrunner.runner.corpusexport import leave_vectors
from batchrunner.store.check import check
from tests.runner.test_corpus import DIM, Corpora, load

pytestmark = pytest.mark.usefixtures("virtual_time")

PACKED = PackLimits(5, None, 30)
SHARD = 7 * DIM * 4
"""Bytes of seven vectors."""


class KilledError(BaseException):
    """What a kill is, within one process: nothing handles it."""


def texts_of_three_kinds():
    """Texts that many later ones repeat, one that is cut in parts, and some that fail or are empty."""
    texts = [Text(f"d{n}", f"text {n % 17 if n % 3 else n}", b'{"n":%d}' % n) for n in range(36)]
    texts[11], texts[30] = Text("bad", "POISON"), Text("empty", " ")
    texts[20] = Text("long", " ".join(f"word{n}" for n in range(20)))
    return texts


async def embedded(folder, texts=None):
    world = Corpora(folder, poison="POISON")
    await world.embed(texts or texts_of_three_kinds(), limits=PACKED, too_long="chunk")
    return world


def leave(world, folder, out="v.parquet", shard=SHARD):
    with session(world.loaded()) as held:
        job = held.jobs()[0]
        corpus = held._store.corpus(job.id)
        return leave_vectors(held._reader, held._store, job, corpus, str(folder / out), shard=shard)


def rows(folder):
    tables = [pq.read_table(path) for path in sorted(folder.glob("v-*.parquet"))]
    assert all(table.num_rows <= 7 for table in tables)
    return [
        row for table in tables for row in zip(table["id"].to_pylist(), table["embedding"].to_pylist(), strict=True)
    ]


def left(world):
    with session(world.loaded()) as held:
        connection = held._store._session.connection()
        found = connection.exec_driver_sql("SELECT count(*) FROM vectors").scalar_one()
        connection.rollback()
        return found


def killing(monkeypatch, after):
    """Be killed at the step after so many."""
    steps = []

    def reached(name):
        steps.append(name)
        if len(steps) > after:
            raise KilledError(name)

    for module in list(sys.modules.values()):
        if module is not crashpoint and getattr(module, "reached", None) is crashpoint.reached:
            monkeypatch.setattr(module, "reached", reached)
    return steps


@pytest.mark.slow
async def test_wherever_it_is_killed_the_next_run_goes_on_with_the_shard_that_is_missing(tmp_path, monkeypatch):
    start = tmp_path / "start"
    start.mkdir()
    world = await embedded(start)
    wanted = world.vectors()
    after, kills = 0, []
    while True:
        folder = tmp_path / f"after-{after}"
        shutil.copytree(start, folder)
        world.folder = folder
        with monkeypatch.context() as patch, session(world.loaded()) as held:
            job = held.jobs()[0]
            given = held._reader, held._store, job, held._store.corpus(job.id), str(folder / "v.parquet")
            steps = killing(patch, after)
            try:
                leave_vectors(*given, shard=SHARD)
            except KilledError:
                kills.append(steps[-1])
            patch.undo()
        finished = len(kills) <= after
        assert check(folder / "q.db") == []
        with session(world.loaded()) as held:
            dropped = not held._store.corpus(1).keep and not held._store.corpus(1).leaving
        if not dropped:
            leave(world, folder)
        assert [(name, bits_of(vector)) for name, vector in rows(folder)] == wanted
        assert check(folder / "q.db") == []
        if finished:
            break
        after += 1
    assert {"corpus.leave", "corpus.left", "export.rename", "export.renamed", "write.inside"} <= set(kills)
    assert left(world) == 0


def bits_of(vector):
    return struct.pack(f"<{DIM}f", *vector)


async def test_a_vector_stays_as_long_as_a_later_text_needs_it(tmp_path, monkeypatch):
    world = await embedded(tmp_path)
    steps = []

    def at(name):
        if name == "corpus.left":
            connection_rows = rows(tmp_path)
            steps.append((len(connection_rows), name))
            if len(steps) == 2:
                raise KilledError

    monkeypatch.setattr("batchrunner.store.leaving.reached", at)
    with pytest.raises(KilledError):
        leave(world, tmp_path)
    monkeypatch.undo()
    written = {name for name, _ in rows(tmp_path)}
    assert left(world) > 0
    assert len(written) == 14
    leave(world, tmp_path)
    assert [name for name, _ in rows(tmp_path)] == [
        text.id for text in texts_of_three_kinds() if text.id not in ("bad", "empty")
    ]


async def test_a_shard_that_is_gone_with_its_vectors_is_named_and_nothing_else_is_touched(tmp_path, monkeypatch):
    world = await embedded(tmp_path, [f"text {n}" for n in range(40)])
    seen = []

    def at(name):
        seen.append(name)
        if seen.count("corpus.left") == 3:
            raise KilledError

    monkeypatch.setattr("batchrunner.store.leaving.reached", at)
    with pytest.raises(KilledError):
        leave(world, tmp_path)
    monkeypatch.undo()
    (tmp_path / "v-00001.parquet").rename(tmp_path / "away")
    before = left(world)
    with pytest.raises(ConfigurationError, match="are in no file any more"):
        leave(world, tmp_path)
    assert left(world) == before
    (tmp_path / "away").rename(tmp_path / "v-00001.parquet")
    leave(world, tmp_path)
    assert [name for name, _ in rows(tmp_path)] == [f"text {n}" for n in range(40)]


async def test_while_it_is_leaving_a_corpus_is_neither_loaded_nor_exported_otherwise(tmp_path, monkeypatch):
    world = await embedded(tmp_path)
    monkeypatch.setattr("batchrunner.store.leaving.reached", lambda name: (_ for _ in ()).throw(KilledError))
    with pytest.raises(KilledError):
        leave(world, tmp_path)
    monkeypatch.undo()
    with session(world.loaded()) as held:
        with pytest.raises(ConfigurationError, match="being dropped as they are written"):
            load(held, ["another"])
        with pytest.raises(ConfigurationError, match="being dropped as they are written"):
            held.export("c", str(tmp_path / "other.jsonl"))
        same = load(held, texts_of_three_kinds(), limits=PACKED, too_long="chunk")
        assert same.unchanged


async def test_other_forms_are_whole_before_anything_is_dropped(tmp_path):
    world = await embedded(tmp_path)
    summary = leave(world, tmp_path, "v.jsonl")
    assert (summary.succeeded, summary.failed, left(world)) == (34, 2, 0)
