"""The sums of requests by model, as the store tells them of what is queued, of requests that are not."""

from operator import add

from batchrunner.core.request import Lane, NewRequest
from batchrunner.core.usage import Usage
from batchrunner.store.base import Workload


class Workloads:
    """Adds requests up. The ids of its lanes count down from -1: they have no place in a database."""

    def __init__(self, provider: str) -> None:
        """``provider``: of requests that name none."""
        self._provider = provider
        self._sums: dict[tuple[str, str], list[int]] = {}
        self._units: dict[tuple[str, str], dict[int, Usage]] = {}

    def add(self, request: NewRequest) -> None:
        """Add a request."""
        lane = (request.provider or self._provider, request.model)
        sums = self._sums.setdefault(lane, [0, 0, 0, 0, 0])
        sums[0] += 1
        sums[1] += request.est_in
        if request.max_out is None:
            sums[3] += 1
        else:
            sums[2] += request.max_out
        if request.units is not None:
            sums[4] += 1
            self._add_units(lane, request.units)

    def _add_units(self, lane: tuple[str, str], units: Usage) -> None:
        """Keep pictures of different numbers of steps apart, since steps are priced by the picture."""
        steps = units.pixel_steps // units.pixels if units.pixels else 0
        by_steps = self._units.setdefault(lane, {})
        known = by_steps.get(steps, Usage())
        by_steps[steps] = Usage(*map(add, known[:-1], units[:-1]))

    def values(self) -> tuple[Workload, ...]:
        """Return the sums, in the order in which their models came first."""
        return tuple(
            Workload._make((Lane(-n, *lane), *sums, tuple(self._units.get(lane, {}).values())))
            for n, (lane, sums) in enumerate(self._sums.items(), 1)
        )
