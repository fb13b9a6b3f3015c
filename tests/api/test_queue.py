"""The Python face, over a real socket."""

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import anyio
import anyio.to_thread
import pytest

import batchrunner
from batchrunner.simulator import Provider, Settings, serve
from tests.canary import CANARY_KEY
from tests.media import png


class Served:
    """The provider in a box in a thread of its own."""

    def __init__(self) -> None:
        self.provider = Provider(Settings(latency=0.01))
        self.url = ""
        self._ready, self._stop = Event(), Event()
        self._thread = Thread(target=lambda: anyio.run(self._serve))

    async def _serve(self) -> None:
        async with serve(self.provider) as self.url:
            self._ready.set()
            await anyio.to_thread.run_sync(self._stop.wait)

    def __enter__(self) -> "Served":
        self._thread.start()
        self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with Served() as box:
        monkeypatch.setenv("TOGETHER_API_KEY", CANARY_KEY)
        monkeypatch.setenv("TOGETHER_BASE_URL", box.url)
        yield box


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    path = tmp_path / "jobs.jsonl"
    message = {"role": "user", "content": "hello"}
    lines = [
        {"custom_id": f"r{i}", "body": {"model": "openai/gpt-oss-20b", "messages": [message], "seed": i}}
        for i in range(20)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


async def test_load_run_and_read_in_five_lines(served: Served, job_file: Path, tmp_path: Path) -> None:
    async with batchrunner.open(tmp_path / "q.db", concurrency=4) as queue:
        job = await queue.load(job_file)
        estimate = await queue.estimate(job)
        report = await queue.run(job)
        results = [result async for result in queue.results(job)]
        status = await queue.status(job)
        costs = await queue.costs(["model"], job)
    assert estimate.requests == 20
    assert report.exit_code == 0
    assert [result.custom_id for result in results] == [f"r{i}" for i in range(20)]
    assert all(result.text and result.cost for result in results)
    assert results[0].json()["choices"]
    assert (status.state, status.counts.succeeded) == ("finished", 20)
    assert [row.key for row in costs] == [("openai/gpt-oss-20b",)]
    assert costs[0].recorded == report.tally.recorded > 0


async def test_a_limit_leaves_the_rest_for_later(served: Served, job_file: Path, tmp_path: Path) -> None:
    async with batchrunner.open(tmp_path / "q.db") as queue:
        await queue.load(job_file)
        assert (await queue.run(limit=5)).tally.succeeded == 5
        assert (await queue.run("jobs")).tally.succeeded == 15
        assert len(served.provider.ledger.entries) == 20


def test_programs_that_do_not_await_have_the_same_face(served: Served, job_file: Path, tmp_path: Path) -> None:
    with batchrunner.open_blocking(tmp_path / "q.db") as queue:
        job = queue.load(job_file)
        snapshots: list[object] = []
        queue.run(job, progress=snapshots.append)
        exported = queue.export(job, tmp_path / "out.jsonl")
        assert queue.status(job).counts.succeeded == exported.succeeded == 20
        assert [result.state for result in queue.results(job)] == ["succeeded"] * 20
        assert queue.failures(job) == []
        assert queue.retry(job) == 0
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 20


async def test_it_works_where_a_loop_runs_already(served: Served, job_file: Path, tmp_path: Path) -> None:
    def work() -> int:
        with batchrunner.open_blocking(tmp_path / "q.db") as queue:
            return queue.run(queue.load(job_file)).tally.succeeded

    assert work() == 20  # as a cell in Jupyter: blocking, inside a running loop


async def test_a_missing_key_is_said_before_anything_is_sent(
    served: Served, job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOGETHER_API_KEY")
    async with batchrunner.open(tmp_path / "q.db") as queue:
        await queue.load(job_file)
        with pytest.raises(batchrunner.ConfigurationError, match="TOGETHER_API_KEY"):
            await queue.run()
    assert len(served.provider.ledger.entries) == 0


async def test_an_open_queue_holds_nothing(served: Served, job_file: Path, tmp_path: Path) -> None:
    async with batchrunner.open(tmp_path / "q.db") as notebook:
        await notebook.load(job_file)
        async with batchrunner.open(tmp_path / "q.db") as night:
            await night.run()
        assert (await notebook.status("jobs")).state == "finished"


async def test_rows_that_refer_to_files_are_run_by_the_python_face_too(served: Served, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "1.png").write_bytes(png())
    part = {"type": "image_url", "image_url": {"url": "file:1.png"}}
    line = {"custom_id": "a", "body": {"model": "m", "messages": [{"role": "user", "content": [part]}]}}
    path = tmp_path / "seen.jsonl"
    path.write_text(json.dumps(line) + "\n")
    async with batchrunner.open(tmp_path / "q.db", attachments=tmp_path / "files") as queue:
        job = await queue.load(path)
        assert (await queue.run(job)).tally.succeeded == 1
    (entry,) = served.provider.ledger.entries
    assert (entry.usage or {})["prompt_tokens"] == 1604


EMBED = "BAAI/bge-base-en-v1.5"


def docs(folder: Path, *texts: str) -> Path:
    path = folder / "docs.csv"
    path.write_text("isbn,body,year\n" + "".join(f"{n},{text},{1900 + n}\n" for n, text in enumerate(texts)))
    return path


async def test_a_corpus_is_embedded_in_four_lines(served: Served, tmp_path: Path) -> None:
    source, out = docs(tmp_path, "one", "two", "one"), tmp_path / "vectors.jsonl"

    async with batchrunner.open(tmp_path / "q.db") as queue:
        job = await queue.embed(source, model=EMBED, text="body", id_column="isbn", keep=["year"])
        await queue.run(job)
        summary = await queue.export(job, out)

    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert (job.name, summary.succeeded) == ("docs", 3)
    assert [(line["id"], line["year"], len(line["embedding"])) for line in lines] == [
        ("0", "1900", 768),
        ("1", "1901", 768),
        ("2", "1902", 768),
    ]
    assert lines[0]["embedding"] == lines[2]["embedding"] != lines[1]["embedding"]


def test_programs_that_do_not_await_embed_as_well_and_a_corpus_grows(served: Served, tmp_path: Path) -> None:
    with batchrunner.open_blocking(tmp_path / "q.db", model=EMBED) as queue:
        queue.run(queue.embed(docs(tmp_path, "one", "two"), text="body", name="books"))
        job = queue.embed(docs(tmp_path, "one", "two", "three"), text="body", name="books")
        assert queue.status(job).counts.queued == 1
        queue.run(job)
        assert queue.export(job, tmp_path / "vectors.jsonl").succeeded == 3


async def test_a_corpus_without_a_model_is_refused(served: Served, tmp_path: Path) -> None:
    async with batchrunner.open(tmp_path / "q.db") as queue:
        with pytest.raises(batchrunner.ConfigurationError, match="no model"):
            await queue.embed(docs(tmp_path, "one"), text="body")
