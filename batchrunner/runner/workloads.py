"""The sums of requests by model, as the store tells them of what is queued, of requests that are not."""

from bisect import bisect
from collections import defaultdict
from operator import add

from batchrunner.core.request import Lane, NewRequest
from batchrunner.core.usage import Usage
from batchrunner.store.base import LENGTHS, LongPrompts, Workload

_NONE = LongPrompts(0, 0, 0, 0, 0)


class _Sums:
    """What was added of one model."""

    def __init__(self) -> None:
        self.whole = _NONE
        self.counted = 0
        self.units: defaultdict[int, Usage] = defaultdict(Usage)
        """Pictures of different numbers of steps apart, since steps are priced by the picture."""
        self.long: defaultdict[int, LongPrompts] = defaultdict(lambda: _NONE)

    def add(self, request: NewRequest) -> None:
        bound, given = request.max_out, request.est_in
        one = LongPrompts(1, given, bound or 0, int(bound is None), given)
        self.whole = self.whole.plus(one)
        if given >= LENGTHS[0]:
            length = bisect(LENGTHS, given)
            self.long[length] = self.long[length].plus(one)
        if request.units is not None:
            self.counted += 1
            self._add_units(request.units)

    def _add_units(self, units: Usage) -> None:
        steps = units.pixel_steps // units.pixels if units.pixels else 0
        self.units[steps] = Usage(*map(add, self.units[steps][:-1], units[:-1]))

    def workload(self, lane: Lane) -> Workload:
        sums = self.whole
        return Workload(
            lane,
            sums.requests,
            sums.est_in,
            sums.max_out,
            sums.unbounded,
            self.counted,
            tuple(self.units.values()),
            long=tuple(self.long[length] for length in sorted(self.long)),
        )


class Workloads:
    """Adds requests up. The ids of its lanes count down from -1: they have no place in a database."""

    def __init__(self, provider: str) -> None:
        """``provider``: of requests that name none."""
        self._provider = provider
        self._sums: defaultdict[tuple[str, str], _Sums] = defaultdict(_Sums)

    def add(self, request: NewRequest) -> None:
        """Add a request."""
        self._sums[request.provider or self._provider, request.model].add(request)

    def values(self) -> tuple[Workload, ...]:
        """Return the sums, in the order in which their models came first."""
        return tuple(sums.workload(Lane(-n, *lane)) for n, (lane, sums) in enumerate(self._sums.items(), 1))
