"""What is synced when: the run's own system calls, and the disk as a power cut at any of them would leave it."""

import json
import os
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.place import ROOT, Place, boxed, chats, placed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace tells the system calls"),
]

ROWS = 24
CALLS = "pwrite64,ftruncate,fsync,fdatasync,write,writev,sendto,sendmsg"
ENTERED = re.compile(r"(\d+) +(\w+)\((\d+)<(.*?)>(.*)")
RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>.*= (-?\d+)")
STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
OFFSET = re.compile(r'", \d+, (\d+)')
FRAME = struct.Struct(">II")
"""The beginning of a frame's header in the write-ahead log: page, and the size of the database where it ends a commit
(SQLite's "Database File Format", 4.1)."""


class Step(NamedTuple):
    """A system call as it began (``result`` None), or as it ended."""

    thread: str
    call: str
    path: str
    data: bytes
    offset: int
    result: int | None


def unhexed(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def steps(trace: Path) -> Iterator[Step]:
    """Yield the beginnings and the ends of calls in their order."""
    inside: dict[str, Step] = {}
    for line in trace.read_text().splitlines():
        if (resumed := RESUMED.match(line)) is not None and resumed[1] in inside:
            yield inside.pop(resumed[1])._replace(result=int(resumed[3]))
        elif (entered := ENTERED.match(line)) is not None:
            thread, call, _, path, rest = entered.groups()
            data = b"".join(map(unhexed, STRING.findall(rest)))
            offset = OFFSET.search(rest) if call == "pwrite64" else None
            step = Step(thread, call, unhexed(path).decode(), data, int(offset[1]) if offset else 0, None)
            yield step
            if rest.endswith("<unfinished ...>"):
                inside[thread] = step
            else:
                yield step._replace(result=int(rest.rpartition("= ")[2].split()[0]))


class Platter:
    """The database's files: what was written to them, and what of it no power cut can take away."""

    def __init__(self, db: Path, start: bytes) -> None:
        self.db, self.wal = str(db), f"{db}-wal"
        self._written = {self.db: bytearray(start), self.wal: bytearray()}
        self._syncing: dict[str, bytes] = {}
        self.durable = {name: bytes(data) for name, data in self._written.items()}
        self.unsynced_commit = False
        self.commits = 0

    def take(self, step: Step) -> None:
        """Follow a call on one of the files."""
        if step.path not in self._written:
            return
        if step.call == "pwrite64" and step.result is None:
            self._write(step)
        elif step.call in ("fsync", "fdatasync"):
            if step.result is None:
                self._syncing[step.thread] = bytes(self._written[step.path])
            else:
                assert step.result == 0
                self.durable[step.path] = self._syncing.pop(step.thread)
                self.unsynced_commit &= step.path != self.wal

    def _write(self, step: Step) -> None:
        data = self._written[step.path]
        data.extend(bytes(max(0, step.offset + len(step.data) - len(data))))
        data[step.offset : step.offset + len(step.data)] = step.data
        if step.path == self.wal and step.offset and len(step.data) == 24:
            assert not self.unsynced_commit, "a transaction began before the one before was synced"
            self.unsynced_commit = FRAME.unpack_from(step.data)[1] != 0
            self.commits += self.unsynced_commit

    def after_a_power_cut(self, folder: Path) -> sqlite3.Connection:
        """Return the database as the next start would find it, if the power went now."""
        for name, data in self.durable.items():
            (folder / Path(name).name).write_bytes(data)
        (folder / f"{Path(self.db).name}-shm").unlink(missing_ok=True)
        return sqlite3.connect(folder / Path(self.db).name)


def traced(place: Place, calls: str = CALLS) -> Path:
    """Run the job under strace, its progress told as JSON; return the trace."""
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "HOME": str(place.talk), "TOGETHER_API_KEY": place.key,
        "TOGETHER_BASE_URL": f"{place.box.url}/v1",
    }  # fmt: skip
    trace = place.talk / "trace"
    words = [word if word != "none" else "json" for word in place.job("--concurrency", "6")]
    command = ["strace", "-f", "-y", "-qq", "-xx", "-s", "100000", "-e", f"trace={calls}", "-o", str(trace)]
    command += [sys.executable, "-m", "batchrunner", *words]
    done = subprocess.run(command, cwd=place.folder, env=environment, capture_output=True, text=True, timeout=60)
    if "ptrace" in done.stderr.lower():
        pytest.skip("no tracing here")
    assert done.returncode == 0, done.stderr
    return trace


def test_d17_what_left_the_process_was_synced_before(tmp_path: Path) -> None:
    """Every call that was sent has its attempt on the platter by then, every answer that was counted its outcome, and
    each transaction is synced before the next one begins."""
    cut = tmp_path / "cut"
    cut.mkdir()
    with boxed(latency=0.4, latency_jitter=0.3, retry_after_style="none") as box, placed(tmp_path, box) as place:
        place.file(chats(ROWS, prefix="sync"))
        assert place.run("load", "job.jsonl", "--db", "q.db").code == 0
        platter = Platter(place.db, place.db.read_bytes())
        sent = told = 0
        for step in steps(traced(place)):
            platter.take(step)
            if step.result is not None:
                continue
            mark = re.search(rb"(?i)x-client-request-id: (\d+)", step.data) if step.path.startswith("socket") else None
            if mark is not None:
                with closing(platter.after_a_power_cut(cut)) as after:
                    found = after.execute("SELECT count(*) FROM attempts WHERE id = ?", (int(mark[1]),)).fetchone()
                assert found == (1,), f"attempt {int(mark[1])} was sent before it was on the disk"
                sent += 1
            elif step.call == "write" and step.data.startswith(b'{"elapsed"'):
                counted = json.loads(step.data)["succeeded"]
                with closing(platter.after_a_power_cut(cut)) as after:
                    kept = after.execute("SELECT count(*) FROM requests WHERE state = 'succeeded'").fetchone()[0]
                assert kept >= counted, "answers were shown before they were on the disk"
                told += counted > 0
        assert sent == ROWS
        assert told > 0
        assert platter.commits >= ROWS / 6


RENAMED = re.compile(r'rename\w*\((?:AT_FDCWD[^,]*, )?"(.*?)", (?:AT_FDCWD[^,]*, )?"(.*?)".*= 0')


def test_d17_a_file_and_its_name_were_synced_before_the_database_knew_of_it(tmp_path: Path) -> None:
    """The order for each picture: its bytes are synced, it is renamed, its folder is synced, then the log has it."""
    body = {"model": "black-forest-labs/FLUX.1-schnell", "prompt": "a fox", "n": 2, "width": 128, "height": 64}
    with boxed() as box, placed(tmp_path, box) as place:
        place.file([{"custom_id": "fox", "url": "/v1/images/generations", "body": body}])
        trace = traced(place, f"{CALLS},rename,renameat,renameat2")
        (line,) = place.lines()
        files = [file["path"].rpartition("/")[2] for file in line["batchrunner"]["artifacts"]]
    assert len(files) == 2
    synced: set[str] = set()
    renamed: dict[str, str] = {}
    told: set[str] = set()
    for each in trace.read_text().splitlines():
        if (name := RENAMED.search(each)) is not None:
            old, new = (unhexed(part).decode() for part in name.groups())
            if Path(new).name in files:
                assert old in synced, "it got its name before its bytes were on the disk"
                renamed[Path(new).name] = str(Path(new).parent)
                synced.discard(str(Path(new).parent))
        elif (entered := ENTERED.match(each)) is not None:
            path = unhexed(entered[4]).decode()
            if entered[2] in ("fsync", "fdatasync"):
                synced.add(path)
            elif path.endswith("q.db-wal") or "out.jsonl" in path:
                data = b"".join(map(unhexed, STRING.findall(entered[5])))
                for file in files:
                    if file.partition(".")[0].encode() in data:
                        assert renamed.get(file) in synced, f"{path} told of a file that a power cut may take away"
                        told.add(file)
    assert told == set(files)
