"""The spending gate: an estimate first, and a question above a threshold."""

import click

from batchrunner.api import Estimate, Session
from batchrunner.cli.options import interactive
from batchrunner.cli.render import talk
from batchrunner.cli.text import count, one_line, plural
from batchrunner.cli.units import amounts
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.pricing import dollars


def confirm(held: Session, estimate: Estimate) -> None:
    """Say what a run will take, and ask where that is not settled.

    Raises ConfigurationError where nobody can be asked, or the answer is no.
    """
    settings = held.settings
    talk(describe(estimate), quiet=settings.quiet)
    if settings.yes:
        return
    if not interactive(held.loaded):
        raise ConfigurationError(
            f"spending was not confirmed: {describe(estimate)}", hint="add --yes to the same command to spend it"
        )
    known = not estimate.unpriced and estimate.high is not None
    if known and (estimate.high or 0) <= settings.confirm_above:
        return
    if not click.confirm("Spend it?", err=True):
        raise ConfigurationError("nothing was sent; the rows stay queued", hint="run the same command again to go on")


def describe(estimate: Estimate) -> str:
    """Return the estimate in one line."""
    units = amounts(estimate.units)
    tokens = f"about {count(estimate.input_tokens)} tokens in, {count(estimate.output_tokens)} out"
    if estimate.calibrated:
        tokens += " (by what answers used so far)"
    asked = ", ".join([tokens, *units] if estimate.input_tokens or estimate.output_tokens or not units else units)
    high = f", at most {dollars(estimate.high)}" if estimate.high is not None else ", no upper bound"
    cost = f"likely {dollars(estimate.likely)}{high}"
    if estimate.unpriced:
        names = one_line(", ".join(estimate.unpriced), 80)
        cost = f"{cost}, plus what is unknown: no price for {names}"
    return f"{plural(estimate.requests, 'request')}, {asked}, {cost}"
