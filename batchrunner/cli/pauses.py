"""Pauses as people see them: since when, why, what waiting costs, and what happens next."""

from collections.abc import Callable
from datetime import datetime

import anyio

from batchrunner.api import PauseView, Snapshot
from batchrunner.cli.render import talk
from batchrunner.cli.text import duration, one_line, plural
from batchrunner.core.clock import SECOND
from batchrunner.core.pricing import dollars

LOOK_EVERY = 1.0

CAUSES = {
    "auth": "the key is refused",
    "no_credit": "the account is empty or at its limit",
    "model_unavailable": "the model is not served",
    "misconfigured": "the host does not speak this API",
    "rate_limited": "a quota is used up",
    "connection": "the host can't be reached",
}
"""What a pause comes from, in words; every other cause is an outage."""


async def tell_pauses(snapshot: Callable[[], Snapshot]) -> None:
    """Say when a pause that is waited for begins, and when it is over, until cancelled."""
    told: dict[tuple[str, str, int], PauseView] = {}
    short = set[str]()
    while True:
        picture = snapshot()
        short = _tell_budgets(short, picture)
        now = {(view.ref, view.cause, view.since): view for view in picture.pauses if view.waits}
        for key in now.keys() - told.keys():
            talk(pause_text(now[key], picture))
        if picture.stopping is None:
            _tell_resumed(told, now, picture)
        told = now
        await anyio.sleep(LOOK_EVERY)


def _tell_budgets(short: set[str], picture: Snapshot) -> set[str]:
    """Tell of budgets that are used up since the last look, and of those that are not any more."""
    now = {view.name for view in picture.budgets if view.used_up}
    for view in picture.budgets:
        if view.name in now - short:
            spent = f"{dollars(view.committed)} of {dollars(view.cap)} committed"
            talk(f"budget {one_line(view.name, 100)} is used up: {spent}; the jobs that it counts are held back")
        elif view.name in short - now and picture.stopping is None:
            talk(f"budget {one_line(view.name, 100)}: there is room again")
    return now


def _tell_resumed(
    told: dict[tuple[str, str, int], PauseView], now: dict[tuple[str, str, int], PauseView], picture: Snapshot
) -> None:
    given_up = {(view.ref, view.cause, view.since) for view in picture.pauses}
    for key in told.keys() - now.keys() - given_up:
        talk(f"{told[key].ref} goes on: it answers again")


def pause_text(view: PauseView, picture: Snapshot) -> str:
    """Return a pause in full."""
    left = picture.total - picture.done
    text = f"{short_text(view)}: {one_line(view.message, 300)}"
    if not view.waits:
        return f"{text}\n  {plural(left, 'request')} left; what is behind this stays queued for the next run"
    return (
        f"{text}\n  waiting costs nothing but time: {plural(left, 'request')} left,"
        f" {plural(picture.air, 'call')} in flight; {_next(view)}; Ctrl-C ends the run and loses nothing"
    )


def short_text(view: PauseView) -> str:
    """Return what is paused, why, and since when, on one line."""
    since = datetime.fromtimestamp(view.since / SECOND).astimezone().strftime("%H:%M")
    cause = CAUSES.get(view.cause, "the service does not answer")
    state = "paused" if view.waits else "stopped"
    return f"{state} {one_line(view.ref, 80)} since {since}, {cause}"


def _next(view: PauseView) -> str:
    if view.next_probe is None:
        return "it goes on by itself when there is an answer"
    return f"one request is tried in {duration(view.next_probe)}, and all goes on when it is answered"
