"""Jobs whose answers come as streams, from the job file to the results, in virtual time."""

import json
from pathlib import Path
from typing import Any

import pytest

from batchrunner.api import session
from batchrunner.core.errors import ExitCode, InputError
from batchrunner.simulator import Settings
from tests.runner.world import World

pytestmark = pytest.mark.usefixtures("virtual_time")

SLOW = Settings(latency=1.0, latency_jitter=0, tokens_per_second=10, output_spread=0, mean_output_tokens=20)


def streamed(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines, every other one asking for a stream."""
    return [line | {"body": line["body"] | ({"stream": True} if n % 2 else {})} for n, line in enumerate(lines)]


def exported(world: World, path: Path, **flags: Any) -> tuple[list[Any], list[Any]]:
    with session(world.loaded(**flags)) as held:
        held.export(held.load(str(path)).job, str(world.folder / "out.jsonl"))
    errors = world.folder / "out.errors.jsonl"
    files = (world.folder / "out.jsonl", errors)
    good, bad = ([*map(json.loads, file.read_bytes().splitlines())] if file.exists() else [] for file in files)
    return good, bad


async def test_streamed_and_plain_rows_are_answered_alike_and_only_streams_tell_a_first_token(folder: Path) -> None:
    world = World(folder, SLOW)
    path = world.file(streamed(world.chats(20)))
    report = await world.work(path)
    assert report.exit_code == ExitCode.OK
    rows, _ = exported(world, path)
    for n, row in enumerate(rows):
        ours, body = row["batchrunner"], row["response"]["body"]
        assert body["object"] == "chat.completion"
        assert ours["usage"]["output_tokens"] == body["usage"]["completion_tokens"] == 20
        assert ours["usage_from"] == "provider"
        assert ours.get("ttft_ms") == (1000 if n % 2 else None)
        assert ours["latency_ms"] == pytest.approx(1000 + (19 + 2) * 100 if n % 2 else 3000, abs=101)
    assert [entry.streamed for entry in world.provider.ledger.entries].count(True) == 10
    assert report.tally.recorded > 0
    assert report.tally.estimated == 0
    assert world.run is not None
    assert world.run.snapshot().ttft == pytest.approx(1.0)


async def test_stream_asks_for_streams_and_its_job_is_another_one(folder: Path) -> None:
    world = World(folder, Settings(flavour="openai"))
    plain = world.chats(3)
    plain += [{"custom_id": "e", "body": {"model": "e", "input": "x"}}]
    path = world.file(plain)
    report = await world.work(path, stream=True)
    assert report.exit_code == ExitCode.OK
    bodies = {entry.path: entry.streamed for entry in world.provider.ledger.entries}
    assert bodies == {"/v1/chat/completions": True, "/v1/embeddings": False}
    (embedded,) = [entry for entry in world.provider.ledger.entries if entry.path == "/v1/embeddings"]
    assert embedded.request_bytes == len(json.dumps(plain[-1]["body"]))
    with (
        session(world.loaded()) as held,
        pytest.raises(InputError, match=r"\(stream True, now False\)"),
    ):
        held.load(str(path))
    with session(world.loaded(stream=True)) as held:
        assert held.load(str(path)).added == 0


@pytest.mark.parametrize(("provider", "asks"), [("together", False), ("openai", True)])
async def test_usage_is_asked_for_where_the_provider_sends_none_otherwise(
    folder: Path, provider: str, asks: bool
) -> None:
    world = World(folder, Settings(flavour=provider))  # type: ignore[arg-type]
    path = world.file(world.chats(2))
    report = await world.work(path, stream=True, provider=provider)
    assert (report.tally.estimated, report.tally.succeeded) == (0, 2)
    with session(world.loaded()) as held, held._store._session.read() as connection:
        (body,) = connection.exec_driver_sql("SELECT data FROM bodies LIMIT 1").one()
    assert ("stream_options" in json.loads(body)) == asks


async def test_a_body_that_came_with_stream_is_sent_byte_for_byte(folder: Path) -> None:
    world = World(folder, Settings(flavour="openai"))
    path = folder / "job.jsonl"
    body = '{ "stream": true,  "model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4 }'
    path.write_text(body + "\n")
    await world.work(path, stream=True, provider="openai")
    (entry,) = world.provider.ledger.entries
    assert entry.request_bytes == len(body)
    (row,), _ = exported(world, path, stream=True, provider="openai")
    assert row["batchrunner"]["usage_from"] == "estimated"  # OpenAI sends no usage unless it is asked to


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stream_error", "stream_cut", "stream_stall", "reset_mid"])
async def test_a_stream_that_breaks_may_have_been_billed_and_is_tried_again(folder: Path, kind: str) -> None:
    met: set[bytes] = set()

    def once(_number: int, _path: str, body: bytes) -> str | None:
        if body in met:
            return None
        met.add(body)
        return kind

    world = World(folder, SLOW, fault_for=once)
    path = world.file(streamed(world.chats(2))[1:])
    report = await world.work(path)
    assert (report.exit_code, report.tally.succeeded, report.tally.attempts) == (ExitCode.OK, 1, 2)
    assert report.tally.possibly_billed > 0
    kinds = {"stream_error": "server_error", "stream_cut": "bad_reply", "stream_stall": "timeout"}
    assert dict(report.tally.errors) == {kinds.get(kind, "connection"): 1}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stream_error", "stream_cut", "stream_stall", "reset_mid"])
@pytest.mark.parametrize("keep", [True, False])
async def test_what_had_come_is_kept_on_request_where_a_row_fails_for_good(folder: Path, kind: str, keep: bool) -> None:
    world = World(folder, SLOW, fault_for=lambda *_: kind)
    path = world.file(streamed(world.chats(2))[1:])
    report = await world.work(path, keep_partial=keep)
    assert report.exit_code == ExitCode.SOME_FAILED
    good, (bad,) = exported(world, path)
    assert good == []
    assert bad["error"]["code"] in ("server_error", "bad_reply", "timeout", "connection")
    assert bad["batchrunner"].get("partial", False) == keep
    if keep:
        (choice,) = bad["response"]["body"]["choices"]
        assert choice["message"]["content"].startswith("[echo ")
        assert choice["finish_reason"] is None
    with session(world.loaded()) as held:
        assert held.statuses()[0].counts.failed == 1


async def test_comments_and_ordinary_answers_do_no_harm(folder: Path) -> None:
    world = World(folder, Settings(faults={"stream_comments": 1.0}))
    path = world.file(streamed(world.chats(6)))
    report = await world.work(path)
    assert report.tally.succeeded == 6
    assert report.tally.attempts == 6
