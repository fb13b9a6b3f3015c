"""`jobs/reviews.csv`: the commands that its README shows, as they stand there."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.e2e.forks import Forks
from tests.e2e.place import ROOT, boxed, placed

pytestmark = pytest.mark.slow


def shown() -> list[list[str]]:
    """The words of each command that is shown for the reviews."""
    text = (ROOT / "jobs" / "README.md").read_text(encoding="utf-8")
    (block,) = [block for block in re.findall(r"```\n(.*?)```", text, re.DOTALL) if "jobs/reviews.csv" in block]
    return [shlex.split(line)[1:] for line in block.splitlines()]


def test_data_becomes_answers_beside_its_columns_and_vectors(forks: Forks, tmp_path: Path) -> None:
    with boxed() as box, placed(tmp_path, box) as place:
        shutil.copytree(ROOT / "jobs", place.folder / "jobs")
        with (place.folder / "jobs" / "reviews.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for words in shown():
            aimed = [box.url if word == "http://127.0.0.1:8700" else word for word in words]
            ended = forks.run(place, *aimed)
            assert ended.code == 0, ended.err

        columns = [(row["id"], row["product"], row["stars"]) for row in rows]
        answers = pq.read_table(place.folder / "reviews.parquet").to_pylist()
        assert [(each["custom_id"], each["product"], each["stars"]) for each in answers] == columns
        assert {type(each["answer_needed"]) for each in answers} == {bool}
        with (place.folder / "reviews.out.csv").open(encoding="utf-8", newline="") as file:
            table = list(csv.DictReader(file))
        assert [(each["custom_id"], each["product"], each["stars"]) for each in table] == columns
        assert [json.loads(each["text"])["topic"] for each in table] == [each["topic"] for each in answers]
        vectors = pq.read_table(place.folder / "vectors.parquet").to_pylist()
        found = [(each["id"], each["product"], each["stars"]) for each in vectors]
        assert found == [row for row, given in zip(columns, rows, strict=True) if given["text"]]
        twin = {each["id"]: each["embedding"] for each in vectors}
        assert twin["r-009"] == twin["r-010"]
        silent = [(line["id"], line["error"]["kind"]) for line in place.lines("vectors.errors.jsonl")]
        assert silent == [("r-013", "empty")]
