"""What the Python face returns."""

from dataclasses import dataclass
from typing import Any

import msgspec

from batchrunner.core.job import Job
from batchrunner.core.pricing import PriceBook
from batchrunner.endpoints.reasoning import Flat, flattened
from batchrunner.endpoints.registry import BY_PATH
from batchrunner.store.base import CostRow, Counts, LaneRow, Pause, ResultRow, RunnerRow, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """A job and where it stands."""

    job: Job
    counts: Counts
    costs: CostRow | None
    """None: nothing was attempted yet."""
    lanes: tuple[LaneRow, ...]
    runner: RunnerRow | None
    """The newest runner of the database."""
    pauses: tuple[Pause, ...] = ()
    """What stands of pauses of this job, its lanes and their providers."""

    @property
    def state(self) -> str:
        """``loading``, ``cancelled``, ``finished``, ``running`` (a call is out), ``paused`` or ``queued``."""
        if self.job.state != "open":
            return self.job.state.value
        if self.counts.queued + self.counts.running == 0:
            return "finished"
        if self.counts.running:
            return "running"
        return "paused" if any(pause.scope == "job" for pause in self.pauses) else "queued"


class Result:
    """One request's outcome."""

    __slots__ = ("row",)

    def __init__(self, row: ResultRow) -> None:
        self.row = row

    def __repr__(self) -> str:
        return f"Result({self.custom_id!r}, {self.state!r})"

    @property
    def custom_id(self) -> str:
        """The line's id."""
        return self.row.custom_id

    @property
    def state(self) -> str:
        """``succeeded``, ``failed``, ``queued``, ..."""
        return self.row.state.value

    @property
    def body(self) -> bytes | None:
        """The answer byte for byte, or the refusal's body."""
        return self.row.body

    @property
    def text(self) -> str | None:
        """The answer's text without its reasoning; None where there is no answer or its format has none."""
        return self._flat.text

    @property
    def reasoning(self) -> str | None:
        """What was thought before the answer, wherever the provider put it; None where nothing is told."""
        return self._flat.reasoning

    @property
    def _flat(self) -> Flat:
        if self.row.state != "succeeded" or self.row.body is None:
            return Flat(None, None)
        return flattened(BY_PATH[self.row.endpoint], self.row.body)

    @property
    def flags(self) -> tuple[str, ...]:
        """What is odd about the answer, such as ``cut_off`` or ``schema: $.a: ...``; empty where nothing is."""
        return self.row.flags

    @property
    def error(self) -> str | None:
        """The failure's kind and message."""
        return None if self.row.failure is None else f"{self.row.failure}: {self.row.message}"

    @property
    def cost(self) -> int | None:
        """Pico-dollars of all attempts whose cost is known; None where none is."""
        return self.row.cost

    def json(self) -> Any:
        """Parse the answer."""
        return None if self.row.body is None else msgspec.json.decode(self.row.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the queued requests will probably take. Money is in pico-dollars."""

    requests: int
    input_tokens: int
    output_tokens: int
    """Likely, see ``LIKELY_OUTPUT``."""
    likely: int
    high: int | None
    """With every output bound used up; None where a request sets none."""
    unpriced: tuple[str, ...]
    """Models without a price: their part of the cost is unknown and in neither sum."""

    @property
    def bytes(self) -> int:
        """Bytes that the answers will probably take on the disk, with a third for what nobody can know.

        A token is about four bytes; an answer's frame and its rows in the ledger are about 1.3 KB.
        """
        return int(1.3 * (1_300 * self.requests + 4 * self.output_tokens))


LIKELY_OUTPUT = 4
"""A guess where nothing was measured: an answer uses a quarter of its bound."""
ASSUMED_OUTPUT = 512
"""Tokens assumed of an answer without a bound."""


def estimate(workloads: list[Workload], book: PriceBook, now: int) -> Estimate:
    """Estimate queued requests by the heuristic token counts and today's prices."""
    requests = inputs = outputs = likely = 0
    high: int | None = 0
    unpriced: list[str] = []
    for work in workloads:
        out = work.max_out // LIKELY_OUTPUT + work.unbounded * ASSUMED_OUTPUT
        requests, inputs, outputs = requests + work.requests, inputs + work.est_in, outputs + out
        card = book.card(work.lane.provider, work.lane.model, now)
        if card is None:
            unpriced.append(work.lane.model)
            continue
        likely += work.est_in * card.input + out * card.output
        bounded = None if work.unbounded and card.output else work.est_in * card.input + work.max_out * card.output
        high = None if high is None or bounded is None else high + bounded
    return Estimate(
        requests=requests,
        input_tokens=inputs,
        output_tokens=outputs,
        likely=likely,
        high=high,
        unpriced=tuple(dict.fromkeys(unpriced)),
    )
