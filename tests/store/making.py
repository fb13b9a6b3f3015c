"""Makes what the store's tests put into it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchrunner.core.attempt import Billing, Failure, FailureKind, Outcome, Reply, Use
from batchrunner.core.job import Job, JobOptions, JobSource
from batchrunner.core.request import Closing, Head, NewRequest, Opened, Opening
from batchrunner.core.retry import GiveUp, RetryAt, Scope, Stop, Succeed, Verdict
from batchrunner.core.usage import Usage, UsageFrom
from batchrunner.store.base import RunnerInfo
from batchrunner.store.database import SqliteReader, SqliteStore, open_reader, open_store

DAY = 86_400_000_000
NOW = 20_000 * DAY + 5
INFO = RunnerInfo("host", 4711, "boot", "someone", "0.1")
CHAT = "/v1/chat/completions"
ACCOUNTS = {"together": "key-1a2b"}
USAGE = Usage(input=10, cached=4, output=20, reasoning=3)


@dataclass(frozen=True, slots=True)
class SqliteEngine:
    """A database as the conformance suite sees it; another engine needs these methods only."""

    path: Path

    def open(self) -> SqliteStore:
        return open_store(self.path)

    def reader(self) -> SqliteReader:
        return open_reader(self.path)

    def crash(self, store: SqliteStore) -> None:
        """Let the writer vanish without a word in the runners' table; the kernel frees its lock."""
        store.close()


def source(path: str = "/data/a.jsonl") -> JobSource:
    return JobSource(path=path, sha256="ab" * 32, size=123, mtime_ns=456)


def line(n: int, **changes: Any) -> NewRequest:
    body = changes.pop("body", b'{"n":%d}' % n)
    digest = hashlib.sha256(body).digest()[:16]
    made = NewRequest(n, f"id-{n}", CHAT, "m", body, digest, est_in=100 + n, max_out=50)
    return made._replace(**changes)


def create(store: SqliteStore, name: str = "a", *, provider: str = "together", **changes: Any) -> Job:
    given = {
        "key": f"key of {name}",
        "name": name,
        "source": source(f"/data/{name}.jsonl"),
        "options": JobOptions(provider=provider),
        "tags": (),
        "now": NOW,
    }
    return store.create_job(**(given | changes))


def load(store: SqliteStore, lines: int | Sequence[NewRequest] = 3, name: str = "a", **changes: Any) -> Job:
    job = create(store, name, **changes)
    store.add(job.id, [line(n) for n in range(1, lines + 1)] if isinstance(lines, int) else lines)
    return store.seal(job.id, job.source, job.key)


def heads(store: SqliteStore, job: Job, limit: int = 100) -> list[Head]:
    """Everything that can be claimed of a job now, fresh or due."""
    found = []
    for work in store.work([job.id]):
        found += store.claim(job.id, work.lane.id, None, limit)
        found += store.claim_due([job.id], work.lane.id, 10 * NOW, limit)
    return found


def opening(head: Head, *, rate_id: int | None = 1, hold: int | None = 1_000, opened: int = NOW) -> Opening:
    return Opening(head, opened, rate_id, hold)


def start_calls(store: SqliteStore, claimed: Sequence[Head], **changes: Any) -> list[tuple[Opened, Opening]]:
    openings = [opening(head, **changes) for head in claimed]
    return list(zip(store.commit(openings, [], [], NOW), openings, strict=True))


def close(call: tuple[Opened, Opening], outcome: Outcome, verdict: Verdict, **changes: Any) -> Closing:
    good = isinstance(outcome, Reply)
    given = {
        "attempt_id": call[0].attempt_id,
        "opening": call[1],
        "ended": NOW + 1_000,
        "outcome": outcome,
        "verdict": verdict,
        "billing": Billing.BILLED if good else outcome.billing,
        "use": Use.USED if good else Use.WASTED,
        "usage": outcome.usage,
        "usage_from": UsageFrom.PROVIDER if outcome.usage else UsageFrom.NONE,
        "cost": 77 if good else None,
        "ttfb": 0.25,
    }
    return Closing(**(given | changes))


def reply(text: bytes = b'{"choices":[]}', usage: Usage | None = USAGE) -> Reply:
    return Reply(200, text, usage, b'{"total_tokens":30}', "stop", "m-turbo", "req-1")


def refusal(kind: FailureKind = FailureKind.INVALID_REQUEST, **changes: Any) -> Failure:
    given = {"message": "no", "billing": Billing.NOT_BILLED, "status": 400, "body": b'{"error":"no"}'}
    return Failure(kind, **(given | changes))


def succeed(call: tuple[Opened, Opening], text: bytes = b'{"choices":[]}', **changes: Any) -> Closing:
    return close(call, reply(text), Succeed(), **changes)


def give_up(call: tuple[Opened, Opening], kind: FailureKind = FailureKind.INVALID_REQUEST, **changes: Any) -> Closing:
    return close(call, refusal(kind, **changes), GiveUp(kind))


def try_later(
    call: tuple[Opened, Opening], not_before: int = NOW + 50, *, counts: bool = True, **changes: Any
) -> Closing:
    failure = refusal(FailureKind.SERVER_ERROR, status=500, billing=Billing.UNKNOWN, **changes)
    return close(call, failure, RetryAt(not_before, counts))


def stop(call: tuple[Opened, Opening]) -> Closing:
    failure = refusal(FailureKind.AUTH, status=401)
    return close(call, failure, Stop(Scope.PROVIDER, FailureKind.AUTH, "the key was refused"))
