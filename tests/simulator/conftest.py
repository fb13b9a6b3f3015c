"""What the simulator's tests share: a clock that is set by hand, and calls to a provider without a socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from batchrunner.simulator import Answer, Provider, Settings


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


class Desk:
    """A provider and the shortest way to ask it; every call is finished at once unless told otherwise."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.ledger = provider.ledger

    def post(
        self,
        path: str,
        body: dict[str, Any] | bytes,
        *,
        key: str | None = "k",
        finish: bool = True,
        served: int = 0,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"authorization": f"Bearer {key}"} if key is not None else {}
        answer = self.provider.handle("POST", path, given | (headers or {}), raw, served_on_connection=served)
        if finish:
            self.provider.finish(answer.number)
        return answer

    def chat(self, text: str = "Why is the sky blue?", **more: Any) -> Answer:
        ways = {name: more.pop(name) for name in ("key", "finish", "served", "headers") if name in more}
        body = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
        return self.post("/v1/chat/completions", body, **ways)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def desk(clock: HandClock) -> Callable[..., Desk]:
    """Builds a desk from settings; wall time is fixed."""

    def build(fault_for: Any = None, **settings: Any) -> Desk:
        provider = Provider(Settings(**settings), now=clock, wall=lambda: 1_760_000_000.0, fault_for=fault_for)
        return Desk(provider)

    return build
