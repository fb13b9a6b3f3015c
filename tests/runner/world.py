"""A whole run in virtual time: the real store, loader, corridor and transport code against the provider in a box."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import anyio
import httpx

from batchrunner.api import Outside, RunReport, session
from batchrunner.config import Loaded, load_settings
from batchrunner.runner.offload import InlineOffload, Offload
from batchrunner.runner.run import Run
from batchrunner.simulator import Answer, FaultFor, Provider, Settings
from batchrunner.transport.base import Transport
from batchrunner.transport.inprocess import InProcessTransport
from batchrunner.transport.secret import Secret
from batchrunner.transport.send import HttpTransport
from tests.canary import CANARY_KEY

EPOCH = 1_795_000_000_000_000
"""Wall clock at virtual time zero, microseconds UTC."""
MODEL = "openai/gpt-oss-20b"


class VirtualClock:
    """Both clocks read the backend's virtual time; ``offset`` seconds pass between two runs."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> int:
        return EPOCH + round(self.monotonic() * 1e6)

    def monotonic(self) -> float:
        return anyio.current_time() + self.offset


class SimulatedHost(httpx.AsyncBaseTransport):
    """The provider in a box as an httpx engine."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answers: list[Answer] = []

        def handle(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
            answers.append(self._provider.handle(method, path, headers, body))
            if answers[0].fault == "refused":
                raise httpx.ConnectError("refused")
            return answers[0]

        try:
            return await InProcessTransport(handle).handle_async_request(request)
        finally:
            for answer in answers:
                self._provider.finish(answer.number)


class World:
    """One database, one provider, one clock."""

    def __init__(self, folder: Path, settings: Settings | None = None, fault_for: FaultFor | None = None) -> None:
        self.folder = folder
        self.clock = VirtualClock()
        self.provider = Provider(
            settings or Settings(latency=1.0),
            now=self.clock.monotonic,
            wall=lambda: self.clock.now() / 1e6,
            fault_for=fault_for,
        )
        self.run: Run | None = None
        self.offload: Callable[[], Offload] = InlineOffload
        self.opening = 0.0
        """Seconds for which a transport opens."""

    def loaded(self, **flags: Any) -> Loaded:
        flags = {"db": str(self.folder / "q.db"), "concurrency": 8, **flags}
        return load_settings(flags, {}, self.folder, None)

    def file(self, lines: Sequence[Mapping[str, Any]], name: str = "job.jsonl") -> Path:
        path = self.folder / name
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    def chats(self, rows: int, *, model: str = MODEL, max_tokens: int = 64, prefix: str = "r") -> list[dict[str, Any]]:
        return [
            {
                "custom_id": f"{prefix}-{i}",
                "body": {
                    "model": model,
                    "messages": [{"role": "user", "content": f"question {i} of {prefix}"}],
                    "max_tokens": max_tokens,
                },
            }
            for i in range(rows)
        ]

    async def work(
        self,
        path: Path,
        *,
        beside: Callable[[Run], Any] | None = None,
        limit: int | None = None,
        suspended: Callable[[], float] | None = None,
        **flags: Any,
    ) -> RunReport:
        """Load a file if need be and run it; ``beside`` is a coroutine function that runs next to it."""
        with session(self.loaded(**flags)) as held:
            job = held.load(str(path)).job
            planned = held.plan([job], held.select([job], limit=limit), outside=self.outside())
            if suspended is not None:
                parts = dataclasses.replace(planned.run.parts, suspended=suspended)
                planned.run = dataclasses.replace(planned.run, parts=parts)
            self.run = planned.run
            async with anyio.create_task_group() as group:
                if beside is not None:
                    group.start_soon(beside, planned.run)
                report = await planned.execute()
                group.cancel_scope.cancel()
            return report

    def outside(self) -> Outside:
        return Outside(
            clock=self.clock, dice=_Dice(), transport=self._transport, offload=self.offload, file_offload=self.offload
        )

    def _transport(self, provider: str) -> Transport:
        host = SimulatedHost(self.provider)
        return _Opening(host, "http://127.0.0.1:1", Secret(CANARY_KEY), clock=self.clock, seconds=self.opening)

    def results(self, path: Path) -> list[Any]:
        with session(self.loaded()) as held:
            return list(held.results(held.load(str(path)).job))

    def attempts(self) -> int:
        """Attempts in our ledger."""
        with session(self.loaded()) as held:
            costs = held.costs()
            return costs[0].attempts if costs else 0


class _Opening(HttpTransport):
    """A transport that takes a while to open, as one does that is imported first."""

    def __init__(self, *args: Any, seconds: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._seconds = seconds

    async def __aenter__(self) -> Self:
        await anyio.sleep(self._seconds)
        return await super().__aenter__()


class _Dice:
    """Dice that replay."""

    def __init__(self, seed: int = 1) -> None:
        import random

        self._random = random.Random(seed)

    def __call__(self) -> float:
        return self._random.random()
