"""What the Python face returns."""

from dataclasses import dataclass
from typing import Any

import msgspec

from batchrunner.core.continuation import Artifact
from batchrunner.core.corpus import TextCounts
from batchrunner.core.job import Job
from batchrunner.endpoints.reasoning import Flat, flattened
from batchrunner.endpoints.registry import BY_PATH
from batchrunner.store.base import CostRow, Counts, LaneRow, Pause, ResultRow, RunnerRow


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
    texts: TextCounts | None = None
    """The texts of a corpus, whose requests are packs of them; None: it is none, or its texts were not counted."""

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
    def artifacts(self) -> tuple[Artifact, ...]:
        """Files that the answer brought; their paths are within ``<db>.artifacts``."""
        return self.row.artifacts

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
