"""The scheduler over random nights: whatever faults, limits, latencies and deaths a seed draws, the promises hold."""

from collections import Counter
from functools import cache

import pytest

from tests.simulation.night import night

pytestmark = pytest.mark.slow

# A night costs 30 ms; who judges its trouble too need not play it again.
played = cache(night)

IN_ALL = 200
AT_ONCE = 20


@pytest.mark.parametrize("first", range(0, IN_ALL, AT_ONCE))
def test_no_night_breaks_a_promise(first):
    broken = {seed: found.problems for seed in range(first, first + AT_ONCE) if (found := played(seed)).problems}
    commands = [f"python -m tests.simulation night --seed {seed}" for seed in broken]
    assert not broken, f"replay with: {'; '.join(commands)}\n{broken}"


def test_the_nights_are_bad_enough():
    """Each kind of trouble is met, also together with deaths: a calm night proves nothing."""
    met, deaths = Counter(), 0
    for seed in range(40):
        found = played(seed)
        met += found.names
        deaths += found.deaths
    assert set(met) >= {"answer", "outage", "limited", "bad row", "timeout", "500", "503", "429", "reset", "broken"}
    assert deaths >= 10


def test_a_night_replays_from_its_seed():
    assert night(23) == played(23)
