"""A whole job against the provider in a box, on real sockets, in this process: each row may name what befalls it.

A row whose text holds ``[fault KIND]`` meets that fault at its first call (``[fault KIND always]``: at every call), and
good rows lie between, as on any day. One run serves many tests: each one looks at its own rows.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio

import batchrunner
from batchrunner.simulator import Provider, Settings, serve
from tests.e2e.place import GPT, LLAMA, SMALL, chat
from tests.invariants import Scenario, ask, broken

NAMED = re.compile(rb"\[fault ([a-zA-Z0-9_]+)( always)?\]")
GOOD_BETWEEN = 4
LATENCY = 0.3
"""Above the quarter of a second within which a lost answer on a used connection looks like the keep-alive race."""

RACED = {("stale_connection", "not_billed"), ("connection", "unknown")}
"""How a race on a kept-alive connection is told; the second where the machine was too busy to see it at once."""


class End(NamedTuple):
    """How one attempt ended, by our ledger."""

    outcome: str
    failure: str | None
    billing: str
    status: int | None
    usage_from: str
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Played:
    """What is left when the curtain falls."""

    provider: Provider
    scenario: Scenario
    report: Any

    def ends(self, kind: str) -> list[list[End]]:
        """For each row that met this fault: how its attempts ended, in order."""
        rows = ask(
            self.scenario.db,
            "SELECT r.custom_id, a.outcome, a.failure, a.billing, a.status, a.usage_from, a.error FROM requests AS r"
            " JOIN attempts AS a ON a.request_id = r.id ORDER BY r.id, a.id",
        )
        found: dict[str, list[End]] = {}
        for custom_id, *end in rows:
            if custom_id.rpartition("-")[0] == kind:
                found.setdefault(custom_id, []).append(End(*end))
        assert found, f"no row met {kind}"
        return list(found.values())

    def state(self, kind: str) -> set[str]:
        """The states of these rows."""
        rows = ask(self.scenario.db, "SELECT custom_id, state FROM requests")
        return {state for custom_id, state in rows if custom_id.rpartition("-")[0] == kind}

    def bodies(self, kind: str) -> list[bytes]:
        """The answers of these rows, byte for byte."""
        query = "SELECT r.custom_id, p.body FROM requests AS r JOIN responses AS p ON p.request_id = r.id"
        return [body for custom_id, body in ask(self.scenario.db, query) if custom_id.rpartition("-")[0] == kind]

    def failed_calls(self, kind: str) -> set[tuple[str | None, str]]:
        """(failure, billing) of every attempt of these rows that brought no answer."""
        return {(end.failure, end.billing) for ends in self.ends(kind) for end in ends if end.outcome != "reply"}

    def recovered(self, kind: str, failure: str, billing: str = "unknown") -> None:
        """Fail unless each of these rows met the fault once, as just this failure, and was answered at the next try."""
        assert self.failed_calls(kind) == {(failure, billing)}
        assert {tuple(end.outcome for end in ends) for ends in self.ends(kind)} == {("failure", "reply")}
        assert self.state(kind) == {"succeeded"}

    def unharmed(self, kind: str) -> None:
        """Fail unless each of these rows was answered at its first call."""
        assert {tuple(end.outcome for end in ends) for ends in self.ends(kind)} == {("reply",)}
        assert self.state(kind) == {"succeeded"}


def mixed(once: Sequence[str], always: Sequence[str] = (), each: int = 2) -> list[dict[str, Any]]:
    """Rows that meet each of these faults, ``each`` times, with good rows between."""
    lines: list[dict[str, Any]] = []
    models = (GPT, LLAMA, SMALL)
    for turn in range(each):
        for kind, suffix in [*((kind, "") for kind in once), *((kind, " always") for kind in always)]:
            model = models[len(lines) % 3]
            lines.append(chat(f"{kind}-{turn}", f"question {len(lines)} [fault {kind}{suffix}]", model))
            lines += [
                chat(f"good-{len(lines) + more}", f"question {len(lines) + more}", models[more % 3])
                for more in range(GOOD_BETWEEN)
            ]
    return lines


def by_text() -> Callable[[int, str, bytes], str | None]:
    """The fault of a call by what its row says."""
    met: set[bytes] = set()

    def fault_for(_number: int, _path: str, body: bytes) -> str | None:
        named = NAMED.search(body)
        if named is None or (body in met and not named[2]):
            return None
        met.add(body)
        return named[1].decode()

    return fault_for


def play(
    folder: Path, lines: Sequence[dict[str, Any]], *, concurrency: int = 32, patience: float = 60.0, **settings: Any
) -> Played:
    """Load and run a job to its end. TOGETHER_API_KEY has to be set."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return anyio.run(partial(_play, folder, concurrency, patience, {"latency": LATENCY, **settings}))


async def _play(folder: Path, concurrency: int, patience: float, settings: dict[str, Any]) -> Played:
    job, db = folder / "job.jsonl", folder / "q.db"
    provider = Provider(Settings(latency_jitter=0, **settings), fault_for=by_text())
    async with serve(provider) as url:
        queue = batchrunner.open(db, base_url=f"{url}/v1", concurrency=concurrency)
        with anyio.fail_after(patience):
            report = await queue.run(await queue.load(job))
    return Played(
        provider=provider,
        report=report,
        scenario=Scenario(db=db, job=job, calls=list(provider.ledger.entries), folders=[folder]),
    )


def check(played: Played) -> None:
    """Fail unless all invariants hold."""
    assert broken(played.scenario) == []
