"""Token buckets: how many requests or tokens may go now, exactly, whatever the real figures turn out to be later."""

import math
from bisect import bisect_right

IDENTITY = (math.inf, 0.0)
_SMALLEST = 64
_MOST_STRETCHES = 512
_TOLERANCE = 1e-9
_LATER = 1e-6
"""Seconds added to a wait: who comes back then must not meet the last bit of a float."""


class Reservation:
    """What a take left to be settled. Opaque: hand it back to the bucket it came from."""

    __slots__ = ("cost", "place")

    def __init__(self, cost: float, place: int) -> None:
        self.cost = cost
        """What is reserved, or was settled last."""
        self.place = place


class TokenBucket:
    """A bucket that fills by ``rate`` a second up to ``burst``; every take lowers it, also below zero.

    The promise: where no settled cost is above its reserve, what is taken in any window of T seconds comes to at most
    ``rate x T + max(burst, the largest single cost)``. Where reserves are guesses, the excess is at most what the
    guesses in flight were short of. A cost above the burst passes when the bucket is full and leaves a debt.

    Settling is back-dated: the level becomes what it would be, had the real cost been taken at the time of the take. So
    a refund is worth no more than the bucket could have held since then, and nothing of it can be spent a second time.

    How: between takes the bucket is ``level -> min(burst, level + rate x seconds)``, a take subtracts. Every step is of
    the form ``level -> min(cap, level + add)``, and so is any chain of steps. The steps since the oldest unsettled take
    hang in a binary tree of such chains, so a step can be changed in the past in O(log n). Settled neighbours are
    folded into one step when the tree is full: its size follows the calls in flight, not the calls made.
    """

    __slots__ = ("_add", "_at", "_base", "_burst", "_cap", "_fresh", "_least", "_level", "_owners", "_rate", "_size")

    def __init__(self, rate: float, now: float, *, least_burst: float = 1.0) -> None:
        """Start a bucket that was never used: empty, but the first request passes at once, whatever it costs.

        A full burst at every start would add up over restarts. ``rate`` is per second, above 0; ``now`` is monotonic
        seconds; the burst is one second of rate, or ``least_burst`` (the largest request expected) where that is more.
        """
        self._rate = _checked(rate)
        self._least = least_burst
        self._burst = max(rate, least_burst)
        self._at = now
        self._level = 0.0
        self._fresh = True
        self._base = 0.0
        self._plant(_SMALLEST)

    @property
    def rate(self) -> float:
        """Return units per second."""
        return self._rate

    @property
    def burst(self) -> float:
        """Return what the full bucket holds."""
        return self._burst

    def level(self, now: float) -> float:
        """Return what could be taken now; negative while a debt is paid off."""
        passed = now - self._at
        return min(self._burst, self._level + self._rate * passed) if passed > 0 else self._level

    def restore(self, level: float, age_seconds: float) -> None:
        """Go on from a level that held ``age_seconds`` before this bucket was made.

        A negative age, a clock that was set back meanwhile, counts as none; a level that is no number as empty.
        """
        kept = level if math.isfinite(level) else 0.0
        age = age_seconds if age_seconds > 0 else 0.0
        self._level = self._base = min(self._burst, kept + self._rate * age)
        self._fresh = False

    def wait(self, now: float, cost: float) -> float:
        """Return the seconds until ``cost`` may be taken; 0: now. Asking changes nothing."""
        if self._fresh:
            return 0.0
        burst = self._burst
        short = (cost if cost < burst else burst) - self.level(now)
        return short / self._rate + _LATER if short > _TOLERANCE * burst else 0.0

    def spend(self, now: float, cost: float) -> None:
        """Take ``cost`` for good."""
        self._step(now, cost, None)

    def take(self, now: float, cost: float) -> Reservation:
        """Take ``cost`` as a reserve that ``settle`` replaces by the real cost; every take must be settled once."""
        reservation = Reservation(cost, -1)
        self._step(now, cost, reservation)
        return reservation

    def settle(self, reservation: Reservation, real: float) -> None:
        """Replace a reserve by the real cost, as of the time it was taken. Settling twice changes nothing."""
        place = reservation.place
        if place < 0:
            return
        reservation.place = -1
        self._owners[place] = None
        change = reservation.cost - real
        if change:
            reservation.cost = real
            leaf = self._size + place
            self._cap[leaf] += change
            self._add[leaf] += change
            self._lift(leaf)
            self._level = min(self._cap[1], self._base + self._add[1])

    def retune(self, now: float, rate: float) -> None:
        """Go on at another rate; what was taken so far stays taken."""
        old = self._burst
        self._rate, before = _checked(rate), self._rate
        self._burst = max(rate, self._least)
        passed = max(0.0, now - self._at)
        self._append(min(old, self._burst), before * passed, None)
        self._at += passed

    def _step(self, now: float, cost: float, owner: Reservation | None) -> None:
        if self._fresh:
            self._fresh = False
            self._level = self._base = max(self.level(now), min(cost, self._burst))
            self._at = max(self._at, now)
        passed = now - self._at
        if passed > 0:
            self._at = now
            self._append(self._burst - cost, self._rate * passed - cost, owner)
        else:
            self._append(self._burst - cost, -cost, owner)

    def _append(self, cap: float, add: float, owner: Reservation | None) -> None:
        """Add a step to the past: to the tree where something in it may still change, else at once to its base."""
        self._level = min(cap, self._level + add)
        owners = self._owners
        if owner is None and not owners:
            self._base = self._level
            return
        if len(owners) == self._size:
            self._fold()
            owners = self._owners
        place = len(owners)
        owners.append(owner)
        if owner is not None:
            owner.place = place
        leaf = self._size + place
        self._cap[leaf] = cap
        self._add[leaf] = add
        self._lift(leaf)

    def _lift(self, node: int) -> None:
        """Renew the chains above a leaf: the right child's steps come after the left child's."""
        caps, adds = self._cap, self._add
        node >>= 1
        while node:
            left = node + node
            right = left + 1
            add = adds[right]
            through, own = caps[left] + add, caps[right]
            caps[node] = own if own < through else through
            adds[node] = adds[left] + add
            node >>= 1

    def _plant(self, size: int) -> None:
        self._size = size
        self._owners: list[Reservation | None] = []
        self._cap = [IDENTITY[0]] * (2 * size)
        self._add = [IDENTITY[1]] * (2 * size)

    def _fold(self) -> None:
        """Melt each run of settled steps into one (the first run into the base) and plant the rest anew.

        At least half of the new tree is free, so folding costs a constant for each take.
        """
        kept: list[tuple[float, float, Reservation | None]] = []
        leaves = slice(self._size, self._size + len(self._owners))
        for cap, add, owner in zip(self._cap[leaves], self._add[leaves], self._owners, strict=True):
            if owner is not None or (kept and kept[-1][2] is not None):
                kept.append((cap, add, owner))
            elif kept:
                before_cap, before_add, _ = kept[-1]
                kept[-1] = (min(cap, before_cap + add), before_add + add, None)
            else:
                self._base = min(cap, self._base + add)
        self._plant(max(_SMALLEST, 1 << (2 * len(kept)).bit_length()))
        for place, (cap, add, owner) in enumerate(kept):
            self._owners.append(owner)
            if owner is not None:
                owner.place = place
            self._cap[self._size + place] = cap
            self._add[self._size + place] = add
        for node in range(self._size - 1, 0, -1):
            add = self._add[2 * node + 1]
            self._cap[node] = min(self._cap[2 * node + 1], self._cap[2 * node] + add)
            self._add[node] = self._add[2 * node] + add


class LastMinute:
    """What happened in the last minute, to the second: a meter for people, not a limit."""

    __slots__ = ("_newest", "_seconds")

    def __init__(self) -> None:
        self._seconds = [0.0] * 60
        self._newest = -(2**62)

    def add(self, at: float, amount: float) -> None:
        """Count ``amount`` at monotonic time ``at``; what is older than a minute is not counted."""
        second = math.floor(at)
        if second > self._newest:
            self._turn(second)
        if second > self._newest - 60:
            self._seconds[second % 60] += amount

    @property
    def newest(self) -> int:
        """Return the latest second that was counted or looked at, on the clock that is used."""
        return self._newest

    def total(self, now: float) -> float:
        """Return the sum of the last minute."""
        second = math.floor(now)
        if second > self._newest:
            self._turn(second)
        return sum(self._seconds)

    def recent(self, now: float, seconds: float) -> float:
        """Return the sum of the last ``seconds``, below 59; of the second that they begin in, its part by time."""
        newest, begin = math.floor(now), now - seconds
        if newest > self._newest:
            self._turn(newest)
        first = math.floor(begin)
        whole = sum(self._seconds[second % 60] for second in range(first + 1, newest + 1))
        return whole + self._seconds[first % 60] * (first + 1 - begin)

    def _turn(self, second: int) -> None:
        for passed in range(min(60, second - self._newest)):
            self._seconds[(second - passed) % 60] = 0.0
        self._newest = second


class Silence:
    """When nothing was allowed to be sent, lately; stretches follow each other and do not overlap."""

    __slots__ = ("_stretches",)

    def __init__(self) -> None:
        self._stretches: list[tuple[float, float, float]] = []
        """Begin, end, and the silence before, all told: the silence between two times is a difference."""

    def add(self, begin: float, end: float) -> None:
        """Note a stretch, in monotonic seconds."""
        before = self._until(begin)
        if len(self._stretches) >= _MOST_STRETCHES:
            del self._stretches[: _MOST_STRETCHES // 2]
        self._stretches.append((begin, end, before))

    def within(self, begin: float, end: float) -> float:
        """Return the seconds of silence between these two times."""
        return self._until(end) - self._until(begin)

    def _until(self, at: float) -> float:
        place = bisect_right(self._stretches, (at, math.inf, math.inf))
        if not place:
            return self._stretches[0][2] if self._stretches else 0.0
        begin, end, before = self._stretches[place - 1]
        return before + min(at, end) - begin


def _checked(rate: float) -> float:
    if not 0 < rate < math.inf:
        raise ValueError(f"a rate must be a number above 0, not {rate}")
    return rate
