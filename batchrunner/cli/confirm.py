"""The spending gate: an estimate first, and a question above a threshold."""

from collections.abc import Sequence

import click

from batchrunner.api import Estimate, Session, Shortfall
from batchrunner.cli.options import interactive
from batchrunner.cli.render import talk
from batchrunner.cli.text import count, one_line, plural
from batchrunner.cli.units import amounts
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.pricing import dollars


def confirm(held: Session, estimate: Estimate, shortfalls: Sequence[Shortfall] = ()) -> None:
    """Say what a run will take, and which budgets will not suffice; ask where that is not settled.

    Raises ConfigurationError where nobody can be asked, or the answer is no.
    """
    settings = held.settings
    asked, known = interactive(held.loaded), not estimate.unpriced and estimate.high is not None
    harmless = known and (estimate.high or 0) <= (settings.confirm_above if asked else 0)
    asks = not settings.yes and settings.max_cost is None and not harmless
    if asks and not asked:
        raise ConfigurationError(
            f"spending was not confirmed: {describe(estimate)}",
            hint="add --yes to the same command to spend it, or --max-cost 12.50 to spend no more than that",
        )
    quiet = settings.quiet and not asks  # who is asked has to know what for
    talk(describe(estimate), quiet=quiet)
    if settings.max_cost is not None and not any(each.name == "--max-cost" for each in shortfalls):
        talk(f"at most {dollars(settings.max_cost)} in this run (--max-cost)", quiet=quiet)
    for each in shortfalls:
        talk(short_of(each), quiet=quiet)
    if asks and not click.confirm("Spend it?", err=True):
        raise ConfigurationError("nothing was sent; the rows stay queued", hint="run the same command again to go on")


def short_of(shortfall: Shortfall) -> str:
    """Say that a budget may be used up before the end."""
    word = "will probably not" if shortfall.likely else "may not"
    then = f"which {word} suffice: it ends where that is used up, and the rest stays queued"
    left = dollars(shortfall.room)
    if shortfall.name == "--max-cost":
        return f"--max-cost {left}, {then}"
    of = f" of {dollars(shortfall.cap)}" if shortfall.room < shortfall.cap else ""
    return f"budget {one_line(shortfall.name, 60)}: {left}{of} left, {then}"


def describe(estimate: Estimate) -> str:
    """Return the estimate in one line."""
    units = amounts(estimate.units)
    tokens = f"about {count(estimate.input_tokens)} tokens in, {count(estimate.output_tokens)} out"
    if estimate.calibrated:
        tokens += " (by what answers used so far)"
    asked = ", ".join([tokens, *units] if estimate.input_tokens or estimate.output_tokens or not units else units)
    high = f", at most {dollars(estimate.high)}" if estimate.high is not None else ", no upper bound"
    cost = f"likely {dollars(estimate.likely)}{high}"
    if estimate.untold:
        cost = f"{cost}, plus what {one_line(', '.join(estimate.untold), 80)} will cost, which no request tells"
    if estimate.unpriced:
        names = one_line(", ".join(estimate.unpriced), 80)
        nothing = estimate.lanes and all(lane.cost is None for lane in estimate.lanes)
        unknown = f"no price for {names}"
        cost = f"cost unknown: {unknown}" if nothing else f"{cost}, plus what is unknown: {unknown}"
    requests = plural(estimate.requests, "request")
    if estimate.going_on:
        requests += f" ({estimate.going_on:,} of them bought before)"
    return f"{requests}, {asked}, {cost}"
