"""Setting and removing budgets, through the one door of every verb that writes."""

from collections.abc import Sequence
from typing import Literal

from batchrunner.api.reads import Reads
from batchrunner.api.verbs import Ref, ask
from batchrunner.config import Loaded
from batchrunner.core.budget import WARN_AT, Period
from batchrunner.core.errors import ConfigurationError
from batchrunner.runner.commands import Command, Done, RemoveBudget, SetBudget


def set_budget(  # noqa: PLR0913 - whose, how long, how much
    loaded: Loaded,
    cap: int,
    *,
    job: Ref | None = None,
    tag: tuple[str, str] | None = None,
    period: Period = Period.EVER,
    warn: Sequence[int] = WARN_AT,
    wait: bool = False,
) -> Done:
    """Cap the spending (pico-dollars) of a job, of a tag, or of everything: for good, or anew each day or month (UTC).

    A run that is going on keeps to it from then on. Raises ConfigurationError.
    """

    def make(read: Reads) -> Command:
        scope, ref = _capped(read, job, tag)
        levels = tuple(sorted(set(warn)))
        return SetBudget(scope=scope, ref=ref, period=period.value, cap=cap, warn=levels)

    return ask(loaded, make, wait=wait)


def remove_budget(
    loaded: Loaded,
    *,
    job: Ref | None = None,
    tag: tuple[str, str] | None = None,
    period: Period = Period.EVER,
    wait: bool = False,
) -> Done:
    """Remove a cap. Raises ConfigurationError where there is none."""

    def make(read: Reads) -> Command:
        scope, ref = _capped(read, job, tag)
        return RemoveBudget(scope=scope, ref=ref, period=period.value)

    return ask(loaded, make, wait=wait)


def _capped(read: Reads, job: Ref | None, tag: tuple[str, str] | None) -> tuple[Literal["all", "job", "tag"], str]:
    if job is not None and tag is not None:
        raise ConfigurationError("a budget is of a job or of a tag", hint="give --job alone, or --tag alone")
    if job is not None:
        return "job", str(read.job(job).id)
    return ("all", "") if tag is None else ("tag", "=".join(tag))
