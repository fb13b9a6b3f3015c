"""A provider on a bad night: limits that move, outages, faults at random, a model that goes; all drawn from dice."""

import json
from dataclasses import dataclass, field

from batchrunner.core.attempt import Billing, Failure, FailureKind
from batchrunner.core.http import HttpReply
from tests.simulation.servers import Moving

ANSWER = json.dumps(
    {
        "id": "c-1",
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 120, "completion_tokens": 60, "total_tokens": 180},
    }
).encode()


def _error(kind):
    return json.dumps({"error": {"message": f"{kind} it is", "type": kind, "code": None}}).encode()


def _failure(kind, billing):
    return Failure(kind, "", billing)


FAULTS = {
    "refused connection": _failure(FailureKind.CONNECTION, Billing.NOT_BILLED),
    "reset": _failure(FailureKind.CONNECTION, Billing.UNKNOWN),
    "timeout": _failure(FailureKind.TIMEOUT, Billing.UNKNOWN),
    "stale": _failure(FailureKind.STALE_CONNECTION, Billing.NOT_BILLED),
    "500": (500, _error("server_error")),
    "503": (503, _error("overloaded")),
    "429": (429, _error("dynamic_request_limited")),
    "broken": (200, ANSWER[:40]),
    "html": (200, b"<html>bad gateway</html>"),
}
"""What a call may meet, by name: what the transport says, or status and body."""
ROWS_OWN = {"reset", "timeout", "500", "broken", "html"}
"""Those that may have been billed, and therefore count against the row."""
OF_OUTAGES = ("refused connection", "reset", "timeout", "500", "503")


@dataclass
class Weather:
    """One lane's provider. ``call`` says what a call that comes in now meets, and in how many seconds."""

    dice: object
    seconds: float
    limit: Moving | None = None
    faults: dict = field(default_factory=dict)
    """Share by name."""
    outages: list = field(default_factory=list)
    """(begin, end, fault)."""
    gone_at: float = float("inf")
    """When the model stops being served."""

    def call(self, now, head):
        """Return reply or failure, the seconds until it is there, and its name."""
        took = self.seconds * (0.5 + self.dice())
        if now >= self.gone_at:
            return self._reply(404, _error("model_not_available"), now), 0.1, "gone"
        for begin, end, name in self.outages:
            if begin <= now < end:
                return self._make(name, now), (20.0 if name == "timeout" else 0.2), "outage"
            if now < begin < now + took:
                return self._make("reset", now), begin - now, "outage"
        headers = {}
        if self.limit is not None:
            found = self.limit.call(now)
            headers = found.headers
            if isinstance(found.outcome, Failure):
                wish = found.outcome.retry_after
                headers = headers if wish is None else headers | {"retry-after": f"{wish:.6f}"}
                return self._reply(429, _error("dynamic_request_limited"), now, headers), found.seconds, "limited"
        if head.digest == b"bad":
            return self._reply(400, _error("invalid_request_error"), now, headers), 0.1, "bad row"
        roll = self.dice()
        for name, share in self.faults.items():
            roll -= share
            if roll < 0:
                return self._make(name, now), (20.0 if name == "timeout" else 0.3), name
        return self._reply(200, ANSWER, now, headers), took, "answer"

    def _make(self, name, now):
        fault = FAULTS[name]
        return fault if isinstance(fault, Failure) else self._reply(*fault, now)

    @staticmethod
    def _reply(status, body, now, headers=None):
        return HttpReply(status, headers or {}, body, 1_795_000_000_000_000 + round(now * 1e6))


def drawn(random, horizon=1_500.0):
    """Draw one lane's weather."""
    phases = [(0.0, random.choice([60, 200, 600, 3_000]))]
    while random.random() < 0.4:
        phases.append((phases[-1][0] + random.uniform(30, 300), random.choice([60, 200, 600, 3_000])))
    limit = Moving(
        phases,
        headers=random.choice(["none", "none", "together", "openai"]),
        retry_after=random.random() < 0.5,
        seed=random.random(),
    )
    names = random.sample(sorted(FAULTS), random.choice([0, 0, 1, 2, 4]))
    outages, at = [], random.uniform(0, 30)
    for _ in range(random.choice([0, 0, 1, 2])):
        length = random.choice([5, 60, 600, 7_200])
        outages.append((at, at + length, random.choice(OF_OUTAGES)))
        at += length + random.uniform(60, horizon)
    return Weather(
        dice=random.random,
        seconds=random.choice([0.2, 1.0, 3.0, 10.0]),
        limit=limit if random.random() < 0.6 else None,
        faults={name: random.choice([0.005, 0.02, 0.1]) for name in names},
        outages=outages,
        gone_at=random.uniform(0, 120) if random.random() < 0.1 else float("inf"),
    )
