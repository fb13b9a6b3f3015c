"""People at other terminals: tune, pause and resume a run that lives."""

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.soak.era import Era, Event, Running

PATIENCE = 60.0
BETWEEN = 20.0
"""Seconds between two of them, on average."""
PAUSED_FOR = 2.0


@cache
def exists(verb: str, command: tuple[str, ...]) -> bool:
    """Whether this build has the verb."""
    return subprocess.run([*command[:3], verb, "--help"], capture_output=True, check=False).returncode == 0


class Verbs:
    """What people do to the runs of an era."""

    def __init__(self, era: "Era", dice: random.Random) -> None:
        self._era = era
        self._dice = dice
        self._paused = False

    def events(self, seconds: float) -> "Iterator[Event]":
        """What they do in a life of this length."""
        at = self._dice.uniform(3.0, BETWEEN)
        while at + PAUSED_FOR + 1 < seconds:
            if self._dice.random() < 0.5:
                yield at, self._do("tune", "--concurrency", str(self._dice.choice((16, 32, 64))))
            else:
                yield at, self._do("pause", "job")
                yield at + PAUSED_FOR, self._do("resume", "job")
            at += BETWEEN * self._dice.uniform(0.5, 1.5)

    def _do(self, verb: str, *words: str) -> "Callable[[Running], None]":
        def act(running: "Running") -> None:
            if exists(verb, tuple(self._era.command())):
                self._say(running, verb, *words)

        return act

    def _say(self, running: "Running | None", verb: str, *words: str) -> None:
        try:
            done = subprocess.run(
                self._era.command(verb, *words), cwd=self._era.work, env=self._era.environment(),
                stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False, start_new_session=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            self._era.broken.append(f"I10: `{verb} {' '.join(words)}` did not end within {PATIENCE:.0f} s")
            return
        if done.returncode == 0:
            self._paused = verb == "pause" or (self._paused and verb != "resume")
            self._era.figures.done[f"{verb} from another process"] += 1
        elif running is not None and running.process.poll() is None and self._settled(running):
            said = done.stderr.decode(errors="replace")[-300:]
            self._era.broken.append(f"I10: `{verb} {' '.join(words)}` ended with {done.returncode}: {said}")

    def _settled(self, running: "Running") -> bool:
        """Whether the runner was there to hear it: not one that is still loading, or is on its last steps."""
        if time.monotonic() - running.life.began < 10:
            return False
        time.sleep(1.0)
        return running.process.poll() is None

    def tidy(self) -> None:
        """Lift a pause whose runner died before it heard of the end of it."""
        if self._paused:
            self._say(None, "resume", "job")
            self._paused = False
