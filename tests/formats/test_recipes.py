"""The recipes of docs/embeddings.md run, word for word, and find what is nearest."""

import re
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from batchrunner.core.vectors import VectorBatch
from batchrunner.formats.export_vectors import export_vectors, vector_writer
from batchrunner.formats.export_vectors_base import VectorFacts
from batchrunner.formats.export_vectors_columns import columns_of

PAGE = (Path(__file__).parents[2] / "docs" / "embeddings.md").read_text(encoding="utf-8")
DIM, COUNT = 384, 40
NEAREST = ["t-17", "t-27", "t-37", "t-2", "t-12"]
"""Most like t-7, by the angles below."""


def recipe(title: str) -> str:
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    found = re.search(r"```(?:sql|python)\n(.*?)```", section, re.DOTALL)
    assert found, title
    return found[1]


def corpus() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Vectors of length 1 that turn away from t-7's in a known order."""
    steps = {7: 0.0} | {int(name[2:]): 0.1 * n for n, name in enumerate(NEAREST, 1)}
    angles = [steps.get(row, 1.0 + row / COUNT) for row in range(COUNT)]
    vectors = np.zeros((COUNT, DIM), "<f4")
    vectors[:, 0], vectors[:, 5] = np.cos(angles), np.sin(angles)
    return vectors


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    kept = [b'{"title":"Text %d"}' % row for row in range(COUNT)]
    batch = VectorBatch([f"t-{row}" for row in range(COUNT)], corpus().tobytes(), DIM, kept)
    said = VectorFacts(job="j", model="m", dimensions=DIM, count=COUNT, version="1", columns=columns_of(kept))
    export_vectors([batch], vector_writer(str(tmp_path / "vectors.parquet"), said, shard=15 * DIM * 4))
    export_vectors([batch], vector_writer(str(tmp_path / "vectors.npy"), said))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_recipe_for_duckdb_finds_the_nearest_texts(written: Path) -> None:
    found = duckdb.sql(recipe("DuckDB")).fetchall()
    assert [row[0] for row in found] == NEAREST
    assert found[0][1] == "Text 17"
    assert found[0][2] == pytest.approx(np.cos(0.1), abs=1e-6)


def test_the_recipe_for_polars_finds_the_nearest_texts(written: Path) -> None:
    space: dict[str, Any] = {}
    exec(recipe("polars"), space)
    assert space["nearest"]["id"].to_list() == NEAREST
    assert space["nearest"]["similarity"][0] == pytest.approx(np.cos(0.1), abs=1e-6)


def test_the_recipe_for_numpy_finds_the_nearest_texts(written: Path) -> None:
    space: dict[str, Any] = {}
    exec(recipe("NumPy"), space)
    assert [name for name, _ in space["nearest"]] == NEAREST


def test_every_recipe_is_a_whole_program_of_its_language() -> None:
    for title in ("polars", "NumPy", "FAISS", "LanceDB", "pgvector", "sqlite-vec"):
        compile(recipe(title), title, "exec")
