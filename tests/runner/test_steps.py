"""Attempts that go on later, in virtual time: polls and downloads are steps of a purchase, and buy nothing."""

import errno
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import openai.types
import pytest
import together.types

from batchrunner.api import session
from batchrunner.api.audit import audit, shown
from batchrunner.core.errors import DiskFullError, ExitCode
from batchrunner.runner.artifacts import Artifacts
from batchrunner.runner.report import Interrupt
from batchrunner.runner.run import Run
from batchrunner.simulator import Entry, Settings
from batchrunner.simulator.files import behind
from batchrunner.store import queue
from batchrunner.store.check import check
from tests.invariants import ask
from tests.runner.world import World

pytestmark = pytest.mark.usefixtures("virtual_time")

FLUX = "black-forest-labs/FLUX.1-schnell"
VIDEO = {"custom_id": "v", "url": "/v2/videos", "body": {"model": "minimax/hailuo-02", "prompt": "a fox runs"}}
SPEECH = {
    "custom_id": "s",
    "url": "/v1/audio/speech",
    "body": {"model": "cartesia/sonic-2", "input": "hello there", "voice": "x"},
}


def image(custom_id: str = "i", **more: Any) -> dict[str, Any]:
    body = {"model": FLUX, "prompt": f"a fox, {custom_id}", "width": 256, "height": 128, **more}
    return {"custom_id": custom_id, "url": "/v1/images/generations", "body": body}


def bought(world: World) -> list[Entry]:
    return [entry for entry in world.provider.ledger.entries if entry.method == "POST"]


def looked(world: World, at: str) -> list[Entry]:
    return [entry for entry in world.provider.ledger.entries if entry.method == "GET" and at in entry.path]


def kept(world: World, path: Path) -> dict[str, list[bytes]]:
    """The files of each row, read from the folder by what the row says of them."""
    folder = world.folder / "q.db.artifacts"
    found = {}
    for result in world.results(path):
        files = [(folder / file.path).read_bytes() for file in result.row.artifacts]
        for file, data in zip(result.row.artifacts, files, strict=True):
            assert (file.sha256, file.size) == (hashlib.sha256(data).hexdigest(), len(data))
        found[result.custom_id] = files
    return found


@contextmanager
def disk_full() -> Iterator[None]:
    """A full disk ends the run, inside the groups of tasks that were at work."""
    with pytest.raises((DiskFullError, BaseExceptionGroup)) as caught:
        yield
    if isinstance(caught.value, BaseExceptionGroup):
        assert caught.value.subgroup(DiskFullError) is not None


def continuations(world: World) -> int:
    return int(ask(world.folder / "q.db", "SELECT count(*) FROM continuations")[0][0])


def sound(world: World) -> None:
    """Nothing is left open, nothing was bought without being in the ledger, and the file is whole."""
    assert shown(audit(world.folder / "q.db", world.provider.ledger.entries)) == []
    assert continuations(world) == 0
    assert ask(world.folder / "q.db", "SELECT count(*) FROM attempts WHERE ended IS NULL") == [(0,)]


async def test_pictures_speech_and_video_become_files_with_the_right_bytes(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, video_seconds=20))
    path = world.file([image(n=2), image("b", response_format="base64"), SPEECH, VIDEO])
    report = await world.work(path)
    assert (report.exit_code, report.tally.succeeded, report.tally.attempts) == (ExitCode.OK, 4, 4)
    files = kept(world, path)
    served = [behind(entry.path) for entry in looked(world, "/files/")]
    assert sorted(files["i"] + files["v"]) == sorted(file.body for file in served if file is not None)
    assert [len(each) for each in files.values()] == [2, 1, 1, 1]
    assert files["b"][0].startswith(b"\x89PNG")
    assert files["s"][0].startswith(b"RIFF")
    assert all(entry.key_fingerprint is None for entry in looked(world, "/files/"))
    assert all(entry.key_fingerprint for entry in looked(world, "/v2/videos/"))
    assert len(bought(world)) == 4
    answers = {result.custom_id: result.body for result in world.results(path)}
    for custom_id in ("i", "b"):
        assert together.types.ImageFile.model_validate_json(answers[custom_id]).data
        assert openai.types.ImagesResponse.model_validate_json(b'{"created":1,' + answers[custom_id][1:]).data
    # As the package itself reads it: its description types the cost as a whole number, and providers send dollars.
    assert together.types.VideoJob.construct(**json.loads(answers["v"])).outputs.cost == 0.28
    sound(world)


async def test_base64_is_in_the_file_and_not_in_the_database(folder: Path) -> None:
    world = World(folder)
    path = world.file([image(response_format="base64", width=1024, height=1024)])
    await world.work(path)
    (result,) = world.results(path)
    assert json.loads(result.body)["data"][0]["b64_json"] == f"sha256:{result.row.artifacts[0].sha256}"
    assert len(json.dumps(ask(world.folder / "q.db", "SELECT hex(body) FROM responses"))) < 2_000


async def test_pictures_speech_and_videos_cost_what_the_provider_bills(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, video_seconds=5))
    path = world.file([image(n=2, steps=8), SPEECH, VIDEO])
    await world.work(path)
    paid = {
        "/v1/images/generations": (353_894_400, 2, 65_536, 0),  # twice 0.032768 megapixels of 0.0027, for 8 steps of 4
        "/v1/audio/speech": (715_000_000, 0, 0, 11),  # 65 for a million
        "/v2/videos": (280_000_000_000, 0, 0, 0),  # as it says itself
    }
    columns = "endpoint, sum(cost), sum(images), sum(pixels), sum(characters)"
    sums = ask(folder / "q.db", f"SELECT {columns} FROM totals WHERE unpriced = 0 GROUP BY endpoint")
    assert {endpoint: tuple(amounts) for endpoint, *amounts in sums} == paid
    assert sorted(entry.charge or 0 for entry in bought(world)) == sorted(cost for cost, *_ in paid.values())
    sound(world)


async def test_polls_are_no_attempts_come_ever_slower_and_cost_nothing(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, video_seconds=200))
    path = world.file([VIDEO])
    report = await world.work(path)
    times = [entry.time for entry in looked(world, "/v2/videos/")]
    gaps = [round(later - earlier, 3) for earlier, later in itertools.pairwise(times)]
    assert gaps == sorted(gaps)
    assert 29 < gaps[-1] < 31
    assert len(times) < 20
    assert (report.tally.attempts, world.attempts(), len(bought(world))) == (1, 1, 1)
    assert not any(entry.billed for entry in looked(world, "/"))
    sound(world)


async def test_a_row_between_two_polls_holds_no_worker_and_no_place(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, video_seconds=60))
    path = world.file([{**VIDEO, "custom_id": f"v{n}", "body": {**VIDEO["body"], "seed": n}} for n in range(6)])
    seen: list[tuple[int, int]] = []

    async def watch(run: Run) -> None:
        await anyio.sleep(30)
        seen.append((run.snapshot().air, ask(folder / "q.db", "SELECT count(*) FROM continuations")[0][0]))

    await world.work(path, beside=watch, concurrency=1)
    assert seen == [(0, 6)]
    assert world.clock.monotonic() < 100, "six videos were waited for one after the other"
    sound(world)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["500", "503", "429", "reset_before", "truncate"])
@pytest.mark.parametrize("at", ["/v2/videos/", "/files/"])
async def test_a_step_that_fails_is_made_again_and_nothing_is_bought_again(folder: Path, fault: str, at: str) -> None:
    failed: list[str] = []

    def fault_for(_: int, path: str, __: bytes) -> str | None:
        if at in path and len(failed) < 3:
            failed.append(path)
            return fault
        return None

    world = World(folder, Settings(latency=1.0, video_seconds=5), fault_for)
    path = world.file([VIDEO])
    report = await world.work(path)
    assert (report.tally.succeeded, report.tally.attempts, len(bought(world))) == (1, 1, 1)
    assert len(failed) == 3
    assert len(kept(world, path)["v"]) == 1
    sound(world)


async def test_of_two_files_the_one_that_is_there_is_not_fetched_again(folder: Path) -> None:
    failed: list[str] = []

    def fault_for(_: int, path: str, __: bytes) -> str | None:
        if "/files/" in path and len(looked(world, "/files/")) == 1 and not failed:
            failed.append(path)
            return "500"
        return None

    world = World(folder, fault_for=fault_for)
    path = world.file([image(n=2)])
    await world.work(path)
    assert len(looked(world, "/files/")) == 3
    assert len(kept(world, path)["i"]) == 2
    sound(world)


async def test_an_address_that_has_expired_fails_its_row_and_says_that_it_was_paid_for(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, url_seconds=0))
    path = world.file([image()])
    report = await world.work(path)
    assert (report.tally.failed, len(bought(world))) == (1, 1)
    (result,) = world.results(path)
    assert result.row.failure == "expired"
    assert "paid for" in result.row.message
    assert json.loads(result.body)["data"][0]["url"], "the answer itself is kept"
    assert ask(folder / "q.db", "SELECT billing, use FROM attempts") == [("billed", "wasted")]
    assert (report.tally.unpriced, report.tally.wasted) == (0, bought(world)[0].charge)
    sound(world)


class Broken:
    """What holds the files answers 503 as long as ``on``; a run is stopped meanwhile."""

    def __init__(self) -> None:
        self.on = True

    def __call__(self, _: int, path: str, __: bytes) -> str | None:
        return "503" if self.on and "/files/" in path else None

    async def stop(self, run: Run) -> None:
        await anyio.sleep(60)
        run.stop(Interrupt.TERM)


def once(at: str, fault: str, times: int = 1) -> Callable[[int, str, bytes], str | None]:
    """The first calls of a path that holds this go wrong."""
    met: list[str] = []

    def fault_for(_: int, path: str, __: bytes) -> str | None:
        if at not in path or len(met) >= times:
            return None
        met.append(path)
        return fault

    return fault_for


async def test_a_videos_link_that_expired_while_no_run_lived_is_asked_for_anew(folder: Path) -> None:
    broken = Broken()
    world = World(folder, Settings(latency=1.0, video_seconds=5, url_seconds=600), broken)
    path = world.file([VIDEO])
    await world.work(path, beside=broken.stop)
    assert continuations(world) == 1
    broken.on = False
    world.clock.offset += 86_400
    report = await world.work(path)
    assert (report.tally.succeeded, len(bought(world)), world.attempts()) == (1, 1, 1)
    assert len(kept(world, path)["v"]) == 1
    assert not any(entry.billed for entry in looked(world, "/"))
    sound(world)


async def test_a_videos_links_that_never_work_end_as_paid_for_after_a_few(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, video_seconds=5, url_seconds=0))
    path = world.file([VIDEO])
    report = await world.work(path)
    assert (report.tally.failed, len(bought(world)), len(looked(world, "/files/"))) == (1, 1, 3)
    (result,) = world.results(path)
    assert (result.row.failure, "its answer was paid for" in result.row.message) == ("expired", True)
    assert ask(folder / "q.db", "SELECT billing, use FROM attempts") == [("billed", "wasted")]
    sound(world)


async def test_a_pictures_link_that_expired_while_no_run_lived_says_that_it_was_paid_for(folder: Path) -> None:
    broken = Broken()
    world = World(folder, Settings(url_seconds=600), broken)
    path = world.file([image()])
    await world.work(path, beside=broken.stop)
    assert continuations(world) == 1
    broken.on = False
    world.clock.offset += 86_400
    report = await world.work(path)
    assert (report.tally.failed, len(bought(world)), world.attempts()) == (1, 1, 1)
    (result,) = world.results(path)
    assert (result.row.failure, "paid for" in result.row.message) == ("expired", True)
    sound(world)


@pytest.mark.parametrize(("times", "ends"), [(4, "succeeded"), (5, "expired")])
async def test_a_poll_that_is_not_found_is_made_again_and_given_up_in_the_end(
    folder: Path, times: int, ends: str
) -> None:
    world = World(folder, Settings(latency=1.0, video_seconds=5), once("/v2/videos/", "404", times))
    path = world.file([VIDEO])
    await world.work(path)
    (result,) = world.results(path)
    assert (result.row.failure or result.state, len(bought(world)), world.attempts()) == (ends, 1, 1)
    if ends == "expired":
        assert "may have been paid for" in result.row.message
        assert ask(folder / "q.db", "SELECT billing FROM attempts") == [("unknown",)]
    assert continuations(world) == 0


async def test_a_job_that_fails_after_a_restart_is_told_and_tried_again_as_a_purchase_of_its_own(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, video_seconds=60, video_failures=1.0))
    path = world.file([VIDEO])

    async def stop(run: Run) -> None:
        await anyio.sleep(10)
        run.stop(Interrupt.TERM)

    await world.work(path, beside=stop)
    assert (continuations(world), len(bought(world))) == (1, 1)
    world.provider.change(world.provider.settings.patched({"video_failures": 0.0}))
    report = await world.work(path)
    assert (report.tally.succeeded, len(bought(world)), world.attempts()) == (1, 2, 2)
    assert ask(folder / "q.db", "SELECT n, outcome, billing FROM attempts ORDER BY id") == [
        (1, "failure", "not_billed"), (2, "reply", "billed"),
    ]  # fmt: skip
    sound(world)


@pytest.mark.slow
async def test_a_job_that_never_ends_has_an_end(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, video_seconds=10**9))
    path = world.file([VIDEO])
    report = await world.work(path, poll_for="10m")
    assert 600 <= world.clock.monotonic() <= 700
    assert (report.tally.failed, len(bought(world))) == (1, 1)
    (result,) = world.results(path)
    assert (result.row.failure, "may have been paid for" in result.row.message) == ("expired", True)
    assert ask(folder / "q.db", "SELECT billing FROM attempts") == [("unknown",)]
    assert continuations(world) == 0


async def test_a_job_that_failed_is_billed_as_the_provider_says_and_tried_again(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, video_failures=1.0))
    path = world.file([VIDEO])
    report = await world.work(path)
    assert (report.tally.failed, len(bought(world))) == (1, 5)
    (result,) = world.results(path)
    assert (result.row.failure, result.row.attempts) == ("server_error", 5)
    assert "could not be generated" in result.row.message
    assert {row[0] for row in ask(folder / "q.db", "SELECT billing FROM attempts")} == {"not_billed"}
    assert continuations(world) == 0


async def test_a_run_that_is_stopped_between_two_polls_goes_on_in_the_next_one(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, video_seconds=60))
    path = world.file([VIDEO])

    async def stop(run: Run) -> None:
        await anyio.sleep(10)
        run.stop(Interrupt.TERM)

    report = await world.work(path, beside=stop)
    assert report.exit_code == ExitCode.TERMINATED
    assert (world.clock.monotonic() < 12, continuations(world)) == (True, 1)
    world.clock.offset += 1_000
    report = await world.work(path)
    assert (report.tally.succeeded, len(bought(world)), world.attempts()) == (1, 1, 1)
    sound(world)


async def test_a_call_that_is_cut_off_at_a_second_stop_is_made_again_by_the_next_run(folder: Path) -> None:
    hanging: list[str] = []

    def fault_for(_: int, path: str, __: bytes) -> str | None:
        if "/files/" in path and not hanging:
            hanging.append(path)
            return "hang"
        return None

    world = World(folder, fault_for=fault_for)
    path = world.file([image()])

    async def stop(run: Run) -> None:
        await anyio.sleep(10)
        run.stop(Interrupt.INT)
        run.stop(Interrupt.INT)

    await world.work(path, beside=stop)
    assert continuations(world) == 1
    report = await world.work(path)
    assert (report.tally.succeeded, len(bought(world)), world.attempts()) == (1, 1, 1)
    sound(world)


async def test_a_cancelled_row_counts_its_purchase_and_goes_on_with_it_when_it_is_taken_back(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, video_seconds=60))
    path = world.file([VIDEO])

    async def stop(run: Run) -> None:
        await anyio.sleep(10)
        run.stop(Interrupt.TERM)

    await world.work(path, beside=stop)
    with session(world.loaded()) as held:
        (job,) = held.jobs()
        store = held._store
        store.cancel(job.id)
        while store.sweep():
            pass
        (cost,) = held.costs()
        assert (cost.attempts, cost.unpriced) == (1, 1), "a purchase that nobody asks for any more is on the bill"
    assert check(folder / "q.db") == []
    with session(world.loaded()) as held:
        held._store.reopen(job.id)
        assert held._store.take_back(job.id, world.clock.now()) == 1
    report = await world.work(path)
    assert (report.tally.succeeded, len(bought(world)), world.attempts()) == (1, 1, 1)
    sound(world)


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", [image(), image(response_format="base64"), SPEECH, VIDEO], ids=["url", "text", "speech", "video"]
)
async def test_d1_a_disk_that_is_full_when_a_file_comes_loses_no_paid_answer(
    folder: Path, line: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(folder)
    path = world.file([line])

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Artifacts, "begin", full)
        with disk_full():
            await world.work(path)
    assert continuations(world) == 1
    report = await world.work(path)
    assert (report.tally.succeeded, len(bought(world)), world.attempts()) == (1, 1, 1)
    assert len(kept(world, path)[line["custom_id"]]) == 1
    sound(world)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the body of a download left unread
@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("line", [image(), SPEECH, VIDEO], ids=["url", "speech", "video"])
async def test_d1_a_disk_that_is_full_in_the_middle_of_a_file_leaves_no_half_of_one(
    folder: Path, line: dict[str, Any], call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(folder, Settings(latency=1.0, video_seconds=5))
    path = world.file([line])
    real = getattr(os, call)

    def full(descriptor: int, *rest: Any) -> Any:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name.endswith(".part"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with disk_full():
            await world.work(path)
    assert [each for each in (folder / "q.db.artifacts").rglob("*") if each.is_file()] == []
    assert continuations(world) == 1
    report = await world.work(path)
    assert (report.tally.succeeded, len(bought(world)), world.attempts()) == (1, 1, 1)
    assert len(kept(world, path)[line["custom_id"]]) == 1
    sound(world)


async def test_a_database_that_is_full_too_leaves_the_continuation_in_the_spill(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(folder, Settings(latency=1.0, url_seconds=10**10))
    path = world.file([image(), VIDEO])

    def full(*_: object) -> None:
        raise DiskFullError("the disk is full (test)")

    with monkeypatch.context() as patch:
        patch.setattr(queue, "keep_continued", full)
        with disk_full():
            await world.work(path)
    assert (folder / "q.db.spill").exists()
    world.clock.offset += 10**9  # what comes back from the dead is due by the real clock
    report = await world.work(path)
    assert (report.tally.succeeded, len(bought(world)), world.attempts()) == (2, 2, 2)
    sound(world)


async def test_a_revoked_key_stops_the_polls_and_the_next_run_goes_on(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, video_seconds=30))
    path = world.file([VIDEO, {**VIDEO, "custom_id": "v2", "body": {**VIDEO["body"], "seed": 2}}])

    async def revoke(_: Run) -> None:
        await anyio.sleep(5)
        world.provider.change(world.provider.settings.patched({"revoke_after": 0}))

    report = await world.work(path, beside=revoke)
    assert report.exit_code == ExitCode.AUTH
    assert continuations(world) == 2
    world.provider.change(world.provider.settings.patched({"revoke_after": None}))
    report = await world.work(path)
    assert (report.tally.succeeded, len(bought(world)), world.attempts()) == (2, 2, 2)
    sound(world)


@pytest.mark.slow
async def test_a_pause_ends_with_the_first_poll_that_is_answered_although_its_job_goes_on(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, video_seconds=800))
    path = world.file([{**VIDEO, "custom_id": f"v{n}", "body": {**VIDEO["body"], "seed": n}} for n in range(3)])

    async def revoke(_: Run) -> None:
        await anyio.sleep(5)
        world.provider.change(world.provider.settings.patched({"revoke_after": 0}))
        await anyio.sleep(100)
        world.provider.change(world.provider.settings.patched({"revoke_after": None}))

    report = await world.work(path, beside=revoke, on_pause="wait")
    assert (report.tally.succeeded, len(bought(world)), world.attempts()) == (3, 3, 3)
    (halt,) = report.halts
    assert halt.ended is not None
    assert 90e6 < halt.ended - halt.since < 500e6, "it ended with a probe, long before the jobs did"
    sound(world)


@pytest.mark.slow
async def test_a_pause_ends_with_a_purchase_that_goes_on(folder: Path) -> None:
    world = World(folder, Settings(latency=1.0, video_seconds=800, credit_calls=0))
    path = world.file([{**VIDEO, "custom_id": f"v{n}", "body": {**VIDEO["body"], "seed": n}} for n in range(3)])

    async def pay(_: Run) -> None:
        await anyio.sleep(100)
        world.provider.change(world.provider.settings.patched({"credit_calls": None}))

    report = await world.work(path, beside=pay, on_pause="wait")
    assert (report.tally.succeeded, sum(entry.billed for entry in bought(world))) == (3, 3)
    (halt,) = report.halts
    assert halt.ended is not None
    assert halt.ended - halt.since < 500e6
    sound(world)


async def test_a_file_that_is_gone_or_damaged_is_found(folder: Path) -> None:
    world = World(folder)
    path = world.file([image(n=2), SPEECH])
    await world.work(path)
    first, second = (folder / "q.db.artifacts" / file.path for file in world.results(path)[0].row.artifacts)
    assert check(folder / "q.db") == []
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1] + b"!")
    assert check(folder / "q.db") == [
        f"file {first.parent.name}/{first.name} of request 1 is missing from the artifacts folder",
        f"file {second.parent.name}/{second.name} of request 1 in the artifacts folder is damaged",
    ]
