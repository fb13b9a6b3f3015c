"""What the store costs on this machine: `python -m tests.store.figures [rows]`. Not a test: figures are for people."""

import hashlib
import resource
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchrunner.core.attempt import Billing, Reply, Use
from batchrunner.core.job import JobOptions, JobSource
from batchrunner.core.request import Closing, NewRequest, Opening
from batchrunner.core.retry import Succeed
from batchrunner.core.usage import Usage, UsageFrom
from batchrunner.store.base import BucketLevel, RunnerInfo
from batchrunner.store.database import open_reader, open_store

BODY = b'{"model":"m","messages":[{"role":"user","content":"' + b"x" * 540 + b'"}]}'
REPLY = b'{"id":"1","choices":[{"message":{"content":"' + b"y" * 1230 + b'"}}]}'
DIGEST = hashlib.sha256(BODY).digest()[:16]
USAGE = Usage(150, 0, 300, 0)
USAGE_RAW = b'{"prompt_tokens":150,"completion_tokens":300,"total_tokens":450}'


@contextmanager
def measured(what: str, rows: int) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{what:42} {rows / wall:>10,.0f} rows/s  {cpu / rows * 1e6:7.2f} us CPU a row  {rss:4} MB", flush=True)


def load(store, name, ids):
    source = JobSource(path=f"/{name}", sha256="", size=1, mtime_ns=1)
    job = store.create_job(key=name, name=name, source=source, options=JobOptions(provider="together"), tags=(), now=1)
    lines = [
        NewRequest(n, each, "/v1/chat/completions", "meta-llama/Llama-3.3-70B", BODY, DIGEST, 150, 512)
        for n, each in enumerate(ids, 1)
    ]
    with measured(f"load {name}", len(lines)):
        for start in range(0, len(lines), 10_000):
            store.add(job.id, lines[start : start + 10_000])
    return store.seal(job.id, source, name)


def walk(store, job, group, rows):
    lane = store.work([job.id])[0].lane.id
    after, heads = None, []
    with measured("claim, 320 at a time", rows):
        while len(heads) < rows:
            heads += store.claim(job.id, lane, after, 320)
            after = (heads[-1].priority, heads[-1].id)
    heads = heads[:rows]
    levels = [BucketLevel(lane, "requests", 1.0, 1, 0), BucketLevel(lane, "tokens", 1.0, 1, 0)]
    closings = []
    with measured(f"open + record, groups of {group}", rows):
        for start in range(0, rows, group):
            openings = [Opening(head, 1_000_000, 1, 100_000) for head in heads[start : start + group]]
            opened = store.commit(openings, closings, levels, 2)
            closings = [
                Closing(
                    *(each.attempt_id, opening, 2_000_000, REPLY_OUTCOME, Succeed(), Billing.BILLED, Use.USED),
                    *(USAGE, UsageFrom.PROVIDER, 123_456, 0.5),
                )
                for each, opening in zip(opened, openings, strict=True)
            ]
        store.commit([], closings, levels, 2)


REPLY_OUTCOME = Reply(200, REPLY, USAGE, USAGE_RAW, "stop", "meta-llama/Llama-3.3-70B", "oAbCdEf-12345")


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "q.db"
        with open_store(path) as store:
            ascending = load(store, "ascending", (f"request-{n:08}" for n in range(rows)))
            load(store, "uuids", (str(uuid.uuid4()) for _ in range(rows)))
            store.start(RunnerInfo("h", 1, "b", "u", "v"), 1, {"together": "key 1234abcd at api.together.xyz"})
            done = 0
            for group in (2, 16, 64, 256):
                some = min(rows // 5, 20_000 if group > 8 else 2_000)
                walk(store, ascending, group, some)
                done += some
            reader = open_reader(path)
            with measured("results", rows):
                seen = sum(row.body is not None for row in reader.results(ascending.id))
            with measured("counts and costs", 1):
                reader.counts(ascending.id, 5)
                reader.costs(["model", "day"])
            reader.close()
            assert seen == done
        print(f"{path.stat().st_size / rows / 2:,.0f} bytes a loaded row")


if __name__ == "__main__":
    main()
