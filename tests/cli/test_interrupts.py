"""Signals at the edges of a run: none strikes an event loop that starts or ends, and none is forgotten."""

import signal
from collections.abc import Iterator

import pytest

from batchrunner.cli import interrupts

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in BOTH}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_that_is_put_off_comes_at_the_end_of_the_block(number: int, error: type[BaseException]) -> None:
    interrupts.once()
    seen: list[int] = []

    def work() -> None:
        with interrupts.put_off() as waiting:
            signal.raise_signal(number)
            signal.raise_signal(number)
            seen.extend(waiting)

    with pytest.raises(error):
        work()
    assert seen == [number, number]


def test_a_signal_that_was_taken_up_meanwhile_does_not_come_again() -> None:
    interrupts.once()
    with interrupts.put_off() as waiting:
        signal.raise_signal(signal.SIGINT)
        waiting.clear()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_once_it_is_over_within_the_block_nothing_comes_any_more() -> None:
    interrupts.once()
    with interrupts.put_off():
        signal.raise_signal(signal.SIGTERM)
        interrupts.never()
    for number in BOTH:
        signal.raise_signal(number)
