"""What a night brings: the acts of a soak, each on a database and a provider of its own."""

import random
import shutil
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM
from typing import Any

from tests.soak.era import CONCURRENCY, ENDED_WELL, POISON, STOPPING, Ended, Era, Event, Running, every_model
from tests.soak.figures import Figures, Life
from tests.soak.verbs import Verbs

FAULTS = {
    "429": 0.02, "500": 0.004, "502html": 0.002, "503": 0.004, "reset_before": 0.002, "reset_mid": 0.003,
    "stray": 0.001, "truncated_json": 0.001, "truncate": 0.001, "drip": 0.001, "keepalive_race": 0.005,
    "billed500": 0.001, "error200": 0.0005, "chunk_cut": 0.0005, "empty200": 0.0005, "no_usage": 0.001,
    "closing": 0.002, "status204": 0.0002, "html200": 0.0002,
}  # fmt: skip
"""What goes wrong at any time, by call."""
RARE = {"hang_mid": 0.00003}
"""What holds up the end of an act until a deadline strikes: in long soaks only."""
LONG = 1_800.0
# An answer takes longer than a quarter of a second: a used connection that is closed without one sooner than that is
# taken for the keep-alive race, which is not billed.
PROVIDER: dict[str, Any] = {
    "latency": 0.4, "latency_jitter": 0.3, "poison": POISON, "faults": FAULTS, "embedding_dimensions": 8,
    "drip_interval": 0.002, "retry_after": 0.3,
}  # fmt: skip
RPMS = (1_800, 6_000, 3_000, 12_000, 2_400)
"""Where the provider's true limit wanders, requests a minute and model."""
OWN_RPM = 1_200
"""What the runs with a limit of their own are told."""
SHAKEN = 1.5
"""Seconds by which a machine busy with other things may delay a call on its way, when windows are counted."""
QUICK_ROWS = 2_500
SIMULATED = 3_600.0
"""Seconds that the simulation of the long outage may take."""
MOST_KEPT = 3
"""Folders of broken acts that are kept to be looked at."""


@dataclass
class Soak:
    """A whole soak: its clock, its dice, its figures, and every breach."""

    folder: Path
    seed: int
    seconds: float
    tell: Callable[[str], None]
    figures: Figures = field(default_factory=Figures)
    broken: list[str] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    rate: float = 100.0
    """Rows a second, as measured so far."""

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self._eras = 0
        self.began = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (time.monotonic() - self.began)

    def era(self, what: str, rows: int, **more: Any) -> "Stage":
        self._eras += 1
        self.tell(f"{what}: {rows:,} rows")
        folder = self.folder / f"{self._eras:03}-{what.replace(' ', '-')}"
        settings = {**PROVIDER, "faults": FAULTS | (RARE if self.seconds >= LONG else {})}
        return Stage(self, Era(folder, rows, self.seed + self._eras, settings, self.figures, self.tell, **more), what)


@dataclass
class Stage:
    """An era from its beginning to its end; what was broken in it is kept to be looked at."""

    soak: Soak
    era: Era
    what: str

    def __enter__(self) -> Era:
        return self.era

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> bool:
        era, soak = self.era, self.soak
        if isinstance(error, KeyboardInterrupt):
            era.judge(Ended(-SIGKILL, "", None, Life("ended early", time.monotonic())), ())
        era.close()
        if isinstance(error, Exception):
            era.broken.append(f"the act itself ended with {error!r} {last_place(error)}")
        soak.figures.done["readers beside a run"] += era.readers.read
        soak.broken += [f"{line} ({self.what}, seed {era.seed})" for line in era.broken]
        if era.broken and len(soak.kept) < MOST_KEPT:
            soak.kept.append(era.folder)
        else:
            shutil.rmtree(era.folder, ignore_errors=True)
        return isinstance(error, Exception)  # the night goes on


def last_place(error: Exception) -> str:
    """Where it was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"at {frame.filename}:{frame.lineno}"


# ------------------------------------------------------------------------------------------------------------- events


def kill(running: Running) -> None:
    running.kill()


def ask_to_stop(signal: int) -> Callable[[Running], None]:
    """Send a signal, and note when the runner says that it stops."""

    def act(running: Running) -> None:
        running.process.send_signal(signal)
        end = time.monotonic() + 60
        while time.monotonic() < end and running.process.poll() is None:
            if STOPPING.search(running.said):
                running.stopped_at = time.time()
                return
            time.sleep(0.02)

    return act


def stand_still(soak: Soak, seconds: float) -> Callable[[Running], None]:
    def act(running: Running) -> None:
        soak.figures.done["SIGSTOP and SIGCONT"] += 1
        running.stand_still(seconds)

    return act


def change(era: Era, **patch: Any) -> Callable[[Running], None]:
    def act(_running: Running) -> None:
        era.provider.change(**patch)

    return act


def wandering(era: Era, dice: random.Random, every: float, seconds: float) -> Iterator[Event]:
    """The provider's true limit moves all the time."""
    at = 0.0
    while at < seconds:
        yield at, change(era, requests_per_minute=dice.choice(RPMS))
        at += every * dice.uniform(0.7, 1.3)


# --------------------------------------------------------------------------------------------------------------- acts


def quick_kills(soak: Soak, cycles: int) -> None:
    """Kill -9 in quick succession, at random moments from the first import to the last commit."""
    while cycles > 0:
        own_limit = soak.dice.random() < 0.5
        more = ("--rpm", str(OWN_RPM)) if own_limit else ()
        rate = OWN_RPM / 60
        limits = dict.fromkeys(every_model(), (rate, rate * (1 + SHAKEN))) if own_limit else {}
        with soak.era("quick kills", QUICK_ROWS, more=more, limits=limits) as era:
            while cycles > 0:
                at = soak.dice.uniform(0.3, 3.0)
                ended = era.live("quick kills", [(at, kill)], patience=120)
                fine = era.judge(ended, ENDED_WELL, last=ended.code >= 0)
                cycles -= ended.code < 0
                if ended.code >= 0 or not fine:
                    break
            else:
                finish(soak, era, "after quick kills")


def finish(soak: Soak, era: Era, what: str, events: list[Event] | None = None) -> Ended:
    """Let what is left be done, whatever it takes."""
    era.provider.change(requests_per_minute=None)
    ended = era.live(what, events or [], reading=True, patience=600 + era.rows / 10)
    era.judge(ended, ENDED_WELL, last=True)
    return ended


def mixed(soak: Soak, seconds: float, between: float) -> None:
    """Everything at once: faults, a limit that moves, kills every few minutes, stops, readers, people at the verbs."""
    rows = rows_for(soak, min(seconds, 600.0))
    with soak.era("mixed", rows) as era:
        verbs, end = Verbs(era, soak.dice), time.monotonic() + min(seconds, 900.0)
        stills = 2
        while (left := end - time.monotonic()) > 0:
            life = min(left, between * soak.dice.uniform(0.5, 1.5))
            events = [*wandering(era, soak.dice, max(5.0, between / 4), life), *verbs.events(life)]
            if stills and life > 6:
                events.append((soak.dice.uniform(1.0, life / 2), stand_still(soak, 3.0)))
                stills -= 1
            ending = soak.dice.choices((kill, ask_to_stop(SIGTERM), ask_to_stop(SIGINT)), (6, 1, 1))[0]
            ended = era.live("mixed", [*events, (life, ending)], reading=True, patience=life + 400)
            verbs.tidy()
            fine = era.judge(ended, ENDED_WELL | {143, 130}, last=ended.code in ENDED_WELL)
            if ended.code in ENDED_WELL or not fine:
                break
        else:
            finish(soak, era, "mixed, the rest")


def outage(soak: Soak, seconds: float, kind: str) -> None:
    """The provider is gone for a while; it is even worse: the run is killed in the middle of it."""
    with soak.era(f"outage of {seconds:.0f} s ({kind})", rows_for(soak, max(20.0, seconds / 4))) as era:
        soak.figures.done[f"outage ({kind})"] += 1
        killed = era.live("outage", [(6.0, out(era, seconds, kind)), (6.0 + seconds / 2, kill)], reading=True)
        era.judge(killed, ENDED_WELL)
        if killed.code < 0:
            began = time.monotonic()
            ended = era.live("outage, the rest", reading=True, patience=seconds + 1_200)
            era.judge(ended, ENDED_WELL, last=True)
            soak.tell(f"  all done {time.monotonic() - began:.0f} s after the kill")


def out(era: Era, seconds: float, kind: str) -> Callable[[Running], None]:
    def act(_running: Running) -> None:
        since = era.provider.seconds
        era.provider.change(outages=[[since, since + seconds]], outage_kind=kind)

    return act


def endings(soak: Soak) -> None:
    """Each way in which a run can end, with the exit code that belongs to it, and a run after it that goes on."""
    with soak.era("endings", rows_for(soak, 45.0)) as era:
        for what, patch, back, code in (
            ("key revoked", {"revoke_after": 0}, {"revoke_after": None}, 6),
            ("credit used up", {"credit_calls": 0}, {"credit_calls": None}, 4),
        ):
            end_and_go_on(soak, era, what, [(4.0, change(era, **patch))], {code}, back)
        for what, signal, code in (("SIGTERM", SIGTERM, 143), ("SIGINT", SIGINT, 130)):
            end_and_go_on(soak, era, what, [(4.0, ask_to_stop(signal))], {code, *ENDED_WELL}, {})
        end_and_go_on(soak, era, "disk full", [(4.0, Running.fill_the_disk)], {74}, {})
        gone = {"missing_models": [every_model()[0]]}
        end_and_go_on(soak, era, "model gone", [(2.0, change(era, **gone))], {7}, {"missing_models": []})
        finish(soak, era, "after the endings")


def end_and_go_on(soak: Soak, era: Era, what: str, events: list[Event], codes: set[int], back: dict[str, Any]) -> None:
    ended = era.live(what, events, patience=600)
    era.provider.change(**back)
    era.judge(ended, codes)
    soak.figures.done[what] += 1
    soak.tell(f"  {what}: {ended.how} after {ended.life.seconds:.0f} s")


def endurance(soak: Soak, seconds: float) -> None:
    """Nobody is killed: does anything grow?"""
    with soak.era("endurance", rows_for(soak, seconds)) as era:
        verbs = Verbs(era, soak.dice)
        events = [*wandering(era, soak.dice, 20.0, seconds * 0.9), *verbs.events(seconds * 0.8)]
        era.figures.done["lives without a kill"] += 1
        ended = era.live("endurance", events, reading=True, patience=seconds * 8 + 900)
        era.judge(ended, ENDED_WELL, last=True)
        soak.rate = max(20.0, min(CONCURRENCY / 0.4, era.rows / ended.life.seconds))


def rows_for(soak: Soak, seconds: float) -> int:
    """Rows that take about so long."""
    return max(400, min(150_000, int(seconds * soak.rate)))


def virtual_outage(root: Path, python: str) -> tuple[int, str]:
    """240,000 rows over half an hour without a provider, in made-up time: code and report of the simulation."""
    words = [python, "bench/outage.py", "--rows", "240000"]
    try:
        done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False, timeout=SIMULATED)
    except subprocess.TimeoutExpired:
        return 1, f"{' '.join(words)} did not end within {SIMULATED:.0f} s"
    return done.returncode, done.stdout or done.stderr[-2_000:]
