"""The disk and the database fail under a real process: no answer that was paid for is lost, and people are told."""

import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.books import check_books, lost
from tests.e2e.forks import Forks
from tests.e2e.place import Box, Place, boxed, chats, placed, quiet, until

pytestmark = pytest.mark.slow

ROWS = 24
CONCURRENCY = 6
NOBODY = 65_534
RUNS = int(os.environ.get("DISK_FULL_RUNS", "20"))
"""Runs against a limit; the soak asks for more."""


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with boxed(latency=0.02, latency_jitter=0.5, retry_after_style="none") as opened:
        yield opened


@pytest.fixture(scope="module")
def slow_box() -> Iterator[Box]:
    with boxed(latency=0.5, latency_jitter=0.2, retry_after_style="none") as opened:
        yield opened


def words(place: Place, *more: str) -> tuple[str, ...]:
    return place.job("--concurrency", str(CONCURRENCY), *more)


def spills(place: Place) -> list[str]:
    return sorted(path.name for path in place.folder.rglob("*.spill*"))


def test_d2_runs_against_a_limit_on_file_size_lose_no_paid_answer(box: Box, forks: Forks, tmp_path: Path) -> None:
    dice = random.Random(2)
    lines = chats(ROWS, prefix="full")
    (tmp_path / "loaded").mkdir()
    with placed(tmp_path / "loaded", box) as first:
        first.file(lines)
        assert forks.run(first, "load", "job.jsonl", "--db", "q.db").code == 0
    stopped = spilled = 0
    for number in range(RUNS):
        folder = tmp_path / str(number)
        folder.mkdir()
        before = len(box.calls())
        with placed(folder, box) as place:
            place.file(lines)
            shutil.copyfile(first.db, place.db)
            ended = forks.run(place, *words(place), fsize=place.db.stat().st_size + dice.randrange(0, 500_000))
            assert ended.code in (0, 74), ended.err
            assert quiet(ended.err)
            stopped += ended.code == 74
            spilled += bool(spills(place))
            if ended.code == 74:
                assert "run the same command again" in ended.err
                ended = forks.run(place, *words(place))
                assert ended.code == 0, ended.err
            calls = box.calls()[before:]
            check_books(place, lines, calls)
            assert (len(calls), lost(place)) == (ROWS, 0), "a paid answer was lost, or bought again"
    assert stopped >= RUNS / 2
    assert spilled >= RUNS / 5


def test_d1_a_full_disk_stops_the_run_and_its_ballast_takes_what_is_in_the_air(box: Box, tmp_path: Path) -> None:
    """A file system of 19 MiB in a namespace of its own: 16 MiB of ballast, and not enough for the job."""
    before = len(box.calls())
    with placed(tmp_path, box) as place:
        lines = chats(600, prefix="ns", max_tokens=512)
        place.file(lines)
        (place.folder / "disk").mkdir()
        words = " ".join(place.job("--concurrency", "16")).replace("q.db", "disk/q.db")
        run = f"{sys.executable} -m batchrunner {words} --notify 'tee -a told'"
        script = (
            "set -e; mount -t tmpfs -o size=19m none disk; "
            f"set +e; {run}; echo first=$? >&2; ls disk >&2; set -e; "
            f"mount -o remount,size=200m disk; set +e; {run}; echo second=$? >&2; cp -r disk kept"
        )
        environment = {
            **os.environ, "PYTHONPATH": str(Path.cwd()), "HOME": str(place.talk), "TOGETHER_API_KEY": place.key,
            "TOGETHER_BASE_URL": f"{box.url}/v1",
        }  # fmt: skip
        command = ["unshare", "-rm", "sh", "-c", script]
        done = subprocess.run(command, cwd=place.folder, env=environment, capture_output=True, text=True, timeout=60)
        if "unshare" in done.stderr or "mount" in done.stderr:
            pytest.skip(f"no namespaces of our own here: {done.stderr.splitlines()[-1]}")
        assert "first=74" in done.stderr, done.stderr
        assert "tmpfs" in done.stderr
        assert "q.db.reserve" not in done.stderr
        assert "second=0" in done.stderr, done.stderr
        told = (place.folder / "told").read_text()
        assert told.count('"event":"ended"') == 2
        assert '"exit_code":74,"message":"' in told.partition('"exit_code":0')[0], "a full disk at night is told too"
        for path in (place.folder / "kept").iterdir():
            shutil.move(path, place.folder)
        calls = box.calls()[before:]
        check_books(place, lines, calls)
        assert (len(calls), lost(place)) == (600, 0)


def unlinked(place: Place) -> None:
    place.db.unlink()


def moved(place: Place) -> None:
    place.db.rename(place.folder / "away.db")


def replaced(place: Place) -> None:
    with closing(sqlite3.connect(place.folder / "other.db")) as other:
        other.execute("CREATE TABLE bookmarks (url)")
    moved(place)
    (place.folder / "other.db").rename(place.db)


def without_journal(place: Place) -> None:
    (place.folder / "q.db-wal").unlink()


def without_shared_memory(place: Place) -> None:
    (place.folder / "q.db-shm").unlink()


@pytest.mark.parametrize("how", [unlinked, moved, replaced, without_journal, without_shared_memory])
def test_d9_and_d11_a_file_taken_away_in_mid_run_is_seen_within_a_second(
    how: object, slow_box: Box, forks: Forks, tmp_path: Path
) -> None:
    before = len(slow_box.calls())
    with placed(tmp_path, slow_box) as place:
        place.file(chats(ROWS, prefix=how.__name__))  # type: ignore[attr-defined]
        forks.start(place, *words(place))
        until(lambda: len(slow_box.calls()) >= before + CONCURRENCY + 2)
        began = time.monotonic()
        how(place)  # type: ignore[operator]
        ended = forks.end()
        assert time.monotonic() - began < 1.0 + 2 * 0.6 + 1.0
        assert ended.code == 74, ended.err
        assert quiet(ended.err)
        assert "deleted, moved or replaced" in ended.err
        assert spills(place) == ["q.db.spill"]
        assert stat.S_IMODE((place.folder / "q.db.spill").stat().st_mode) == 0o600
        calls = slow_box.calls()[before:]
        assert all(call.written for call in calls), "a call was cut"


def test_d9_a_file_that_is_put_back_goes_on_without_losing_an_answer(
    slow_box: Box, forks: Forks, tmp_path: Path
) -> None:
    before = len(slow_box.calls())
    with placed(tmp_path, slow_box) as place:
        lines = chats(ROWS, prefix="back")
        place.file(lines)
        forks.start(place, *words(place))
        until(lambda: len(slow_box.calls()) >= before + CONCURRENCY + 2)
        away = place.folder / "away"
        away.mkdir()
        for name in ("q.db", "q.db-wal", "q.db-shm"):
            (place.folder / name).rename(away / name)
        assert forks.end().code == 74
        for name in ("q.db", "q.db-wal"):
            if (away / name).exists():
                (away / name).rename(place.folder / name)
        ended = forks.run(place, *words(place))
        assert ended.code == 0, ended.err
        assert "put by beside the database" in ended.err
        calls = slow_box.calls()[before:]
        check_books(place, lines, calls)
        assert (len(calls), lost(place)) == (ROWS, 0)


def test_d9_a_folder_that_is_moved_in_mid_run_takes_the_spill_with_it(
    slow_box: Box, forks: Forks, tmp_path: Path
) -> None:
    before = len(slow_box.calls())
    with placed(tmp_path, slow_box) as place:
        lines = chats(ROWS, prefix="folder")
        place.file(lines)
        (place.folder / "sub").mkdir()
        command = [word.replace("q.db", "sub/q.db") for word in words(place)]
        forks.start(place, *command)
        until(lambda: len(slow_box.calls()) >= before + CONCURRENCY + 2)
        (place.folder / "sub").rename(place.folder / "gone")
        assert forks.end().code == 74
        assert (place.folder / "gone" / "q.db.spill").exists()
        (place.folder / "gone").rename(place.folder / "sub")
        ended = forks.run(place, *command)
        assert ended.code == 0, ended.err
        assert len(slow_box.calls()) - before == ROWS


def test_d5_a_database_that_another_program_locks_for_a_while_is_waited_for(
    slow_box: Box, forks: Forks, tmp_path: Path
) -> None:
    before = len(slow_box.calls())
    with placed(tmp_path, slow_box) as place:
        lines = chats(ROWS, prefix="lock")
        place.file(lines)
        forks.start(place, *words(place))
        until(lambda: len(slow_box.calls()) >= before + CONCURRENCY)
        with closing(sqlite3.connect(place.db, timeout=10, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(1.5)
            other.execute("ROLLBACK")
        ended = forks.end()
        assert ended.code == 0, ended.err
        check_books(place, lines, slow_box.calls()[before:])


def test_d5_a_database_that_stays_locked_past_the_timeout_ends_the_run_and_loses_nothing(
    slow_box: Box, forks: Forks, tmp_path: Path
) -> None:
    before = len(slow_box.calls())
    with placed(tmp_path, slow_box) as place:
        lines = chats(ROWS, prefix="stuck")
        place.file(lines)
        forks.start(place, *words(place, "--db-timeout", "1s"))
        until(lambda: len(slow_box.calls()) >= before + CONCURRENCY)
        with closing(sqlite3.connect(place.db, timeout=10, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            ended = forks.end()
            other.execute("ROLLBACK")
        assert ended.code == 74, ended.err
        assert "--db-timeout" in ended.err
        assert quiet(ended.err)
        assert spills(place) == ["q.db.spill"]
        ended = forks.run(place, *words(place))
        assert ended.code == 0, ended.err
        calls = slow_box.calls()[before:]
        check_books(place, lines, calls)
        assert (len(calls), lost(place)) == (ROWS, 0)


@pytest.mark.skipif(os.getuid() != 0, reason="takes another user's place, which only root can")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_d4_what_can_not_be_written_is_named_with_its_fix(what: str, box: Box, forks: Forks, tmp_path: Path) -> None:
    with placed(tmp_path, box) as place:
        place.file(chats(3))
        assert forks.run(place, *words(place)).code == 0
        opened_up(place.folder)
        (place.db if what == "file" else place.folder).chmod(0o444 if what == "file" else 0o555)
        ended = forks.run(place, *words(place, "--any-owner"), user=NOBODY)
        assert ended.code == 74, ended.err
        assert quiet(ended.err)
        assert "q.db" in ended.err
        assert "permission" in ended.err.lower()
        looked = forks.run(place, "status", "--db", "q.db", user=NOBODY)
        assert looked.code == 0, looked.err
        assert "3 of 3" in looked.out or "3" in looked.out


def opened_up(folder: Path) -> None:
    """Let anybody reach and read what lies here, and only that."""
    for path in (*folder.parents, folder):
        if "pytest" in str(path) or "test_" in path.name:
            path.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o666)
    (folder.parent / "talk").chmod(0o777)


def test_d12_a_copy_without_its_journal_is_refused_until_it_is_accepted(box: Box, forks: Forks, tmp_path: Path) -> None:
    with placed(tmp_path, box) as place:
        place.file(chats(10, prefix="copied"))
        assert forks.run(place, *words(place, "--limit", "4")).code == 0
        saved = (place.folder / "saved.db", place.db)
        shutil.copyfile(saved[1], saved[0])
        assert forks.run(place, *words(place)).code == 0
        calls = len(box.calls())
        shutil.copyfile(saved[0], saved[1])
        for name in ("q.db-wal", "q.db-shm"):
            (place.folder / name).unlink(missing_ok=True)
        ended = forks.run(place, *words(place))
        assert ended.code == 74, ended.err
        assert "older copy" in ended.err
        assert "--accept-older" in ended.err
        assert len(box.calls()) == calls
        assert forks.run(place, *words(place, "--accept-older")).code == 0
        assert len(box.calls()) == calls + 6
        assert forks.run(place, *words(place)).code == 0


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_d26_every_file_of_a_run_is_its_owners_alone(umask: int, slow_box: Box, forks: Forks, tmp_path: Path) -> None:
    before = len(slow_box.calls())
    with placed(tmp_path, slow_box) as place:
        place.file(chats(8, prefix=f"mode-{umask}"))
        here = {path.name for path in place.folder.iterdir()}
        forks.start(place, *words(place), prelude=f"import os; os.umask({umask})")
        until(lambda: len(slow_box.calls()) >= before + 2)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.folder.iterdir()}
        assert forks.end().code == 0
        modes |= {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.folder.iterdir()}
        assert {"q.db", "q.db-wal", "q.db-shm", "q.db.lock", "q.db.reserve", "out.jsonl"} <= modes.keys()
        assert modes.pop("q.db.inbox") == 0o700
        assert {name: mode for name, mode in modes.items() if name not in here and mode != 0o600} == {}


@pytest.mark.parametrize("name", ["a b.db", "what?.db", "a#b.db", "100%25.db", "new\nline.db", "x" * 240 + ".db"])
def test_d25_a_run_works_at_any_path(name: str, box: Box, forks: Forks, tmp_path: Path) -> None:
    with placed(tmp_path, box) as place:
        place.file(chats(2, prefix="any"))
        ended = forks.run(place, *[name if word == "q.db" else word for word in words(place)])
        assert ended.code == 0, ended.err
        assert len(place.lines()) == 2


def test_a_run_that_was_killed_leaves_its_ballast_and_the_next_one_takes_it(
    slow_box: Box, forks: Forks, tmp_path: Path
) -> None:
    before = len(slow_box.calls())
    with placed(tmp_path, slow_box) as place:
        lines = chats(8, prefix="killed")
        place.file(lines)
        pid = forks.start(place, *words(place))
        until(lambda: len(slow_box.calls()) >= before + 2)
        os.kill(pid, signal.SIGKILL)
        assert forks.end().code == -signal.SIGKILL
        reserve = (place.folder / "q.db.reserve").stat()
        assert reserve.st_size == 16 << 20
        assert reserve.st_blocks * 512 >= 16 << 20, "a hole keeps no room"
        assert forks.run(place, *words(place)).code == 0
        check_books(place, lines, slow_box.calls()[before:])


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace injects these faults")
@pytest.mark.parametrize(
    "inject", ["fdatasync:error=EIO:when=12", "fdatasync:error=EIO:when=12+", "pwrite64:error=EIO:when=120+"]
)
def test_d19_and_d20_a_disk_that_reports_errors_ends_the_run_and_loses_no_paid_answer(
    inject: str, box: Box, tmp_path: Path
) -> None:
    """The n-th call only, or every one from then on: SQLite's own method. The database is never tried again."""
    before = len(box.calls())
    with placed(tmp_path, box) as place:
        lines = chats(ROWS, prefix="io")
        place.file(lines)
        assert place.run("load", "job.jsonl", "--db", "q.db").code == 0
        environment = {
            **os.environ, "PYTHONPATH": str(Path.cwd()), "HOME": str(place.talk), "TOGETHER_API_KEY": place.key,
            "TOGETHER_BASE_URL": f"{box.url}/v1",
        }  # fmt: skip
        what = inject.partition(":")[0]
        command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={what}", "-e", f"inject={inject}"]
        command += [sys.executable, "-m", "batchrunner", *words(place)]
        done = subprocess.run(command, cwd=place.folder, env=environment, capture_output=True, text=True, timeout=60)
        if "ptrace" in done.stderr.lower():
            pytest.skip("no tracing here")
        assert done.returncode == 74, done.stderr
        assert quiet(done.stderr)
        assert "the disk reported an error" in done.stderr
        ended = place.run(*words(place))
        assert ended.code == 0, ended.err
        calls = box.calls()[before:]
        check_books(place, lines, calls)
        assert len(calls) - ROWS <= lost(place)
        if "12+" not in inject and "fdatasync" in inject:
            assert (len(calls), lost(place)) == (ROWS, 0)
