"""``estimate``: what it will take, before it runs, or by a sample of it that does."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from batchrunner.cli.estimatefacts import facts, priced
from batchrunner.cli.options import (
    job_options,
    json_option,
    judging_options,
    limit_options,
    money_options,
    pause_options,
    provider_options,
    recipe_options,
    verb,
    wait_option,
)
from batchrunner.cli.params import COUNT
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import table, talk
from batchrunner.cli.text import aimed, command_line, count, duration, one_line, plural
from batchrunner.cli.units import amounts
from batchrunner.config import Loaded
from batchrunner.core.pricing import PICO, dollars

if TYPE_CHECKING:
    from batchrunner.api import Estimate, LaneEstimate, Outlook, Range, Recipe, Sampled, Time

UNBOUNDED: Final = "no bound"
SUGGESTED: Final = 50
"""Rows of a sample that is suggested, where there are more of them."""
_METHODS: Final = {
    "guessed": "guessed by their bytes: low is half of it, high a token a byte, which no text exceeds",
    "calibrated": "corrected by what earlier answers used; give or take a fourth, as these prompts may differ",
    "counted": "counted by the tokenizer",
}
_BOUNDS: Final = {"concurrency": "calls in flight", "rpm": "requests a minute", "tpm": "tokens a minute"}


@verb()
@click.argument("what", metavar="FILE|JOB")
@click.option("--sample", type=COUNT, help="Run N random rows for real, keep their results, and project from them.")
@click.option("--template", metavar="FILE", help="FILE is data: estimate what this template makes of its rows.")
@recipe_options
@provider_options
@limit_options
@money_options
@judging_options
@pause_options
@job_options
@wait_option
@json_option
def command(
    loaded: Loaded,
    *,
    what: str,
    name: str | None,
    add: bool,
    wait: bool,
    as_json: bool,
    template: str | None,
    **given: Any,
) -> int:
    """Tell what the queued requests of a job, or those of a file, will take: tokens, cost, and time at the limits.

    Without --sample nothing is stored and nothing is sent; low is without any output, high with every output bound
    used up. With --sample N random rows are run for real, after the question that `run` asks. Their results are kept:
    a later `run` does not pay for them again. Low and high are then the ends of an interval that is to hold the truth
    in 90 of 100 cases. Give the options that you will run it with.

    \b
    Examples:
      batchrunner estimate big.jsonl
      batchrunner estimate big.jsonl --sample 50
      batchrunner estimate big --rpm 600 --tpm 180k --json
      batchrunner estimate books.csv --template prompt.jinja --model ID
    """
    from batchrunner.cli.recipes import recipe_of, refuse_data

    recipe = recipe_of(template, **given)
    if recipe is None:
        refuse_data(what, "estimate")
    if loaded.settings.sample is not None:
        return _by_sample(loaded, what, loaded.settings.sample, recipe, as_json=as_json, wait=wait, name=name, add=add)
    from batchrunner.api import outlook

    found = outlook(loaded, what, recipe)
    _tell(loaded, found, as_json=as_json)
    if found.estimate.requests > SUGGESTED and not as_json and recipe is None:
        more = command_line(loaded, "estimate", what, "--sample", str(SUGGESTED), *_again(loaded))
        talk(f"to know more: {more}", quiet=loaded.settings.quiet)
    return 0


def _again(loaded: Loaded) -> list[str]:
    """Return the options that say where calls go and where files lie."""
    folder = loaded.settings.attachments
    files = [] if folder is None else ["--attachments", str(folder)]
    return [*files, *aimed(loaded, "provider", "base_url")]


def _by_sample(
    loaded: Loaded, what: str, rows: int, recipe: "Recipe | None", *, as_json: bool, wait: bool, **load: Any
) -> int:
    """Run rows at random, and tell what they tell."""
    from batchrunner.api import session
    from batchrunner.cli.hangup import Hangup
    from batchrunner.cli.outcome import tell_report, tell_rescue
    from batchrunner.cli.run import job_of, spend, standing

    hangup = Hangup(loaded.settings.db)
    hangup.expect()
    with session(loaded, wait=wait) as held:
        tell_rescue(held)
        job = job_of(held, what, recipe, **load)
        drawing = held.draw(job, rows)
        report = spend(held, [job], drawing.selection, hangup)
        if report is None:
            _tell(loaded, held.outlook(job), as_json=as_json)
            return standing(held, [job])
        tell_report(report, quiet=loaded.settings.quiet)
        found = held.outlook_by(job, drawing, report.started)
    if found is None:
        talk("none of the drawn rows has an outcome, so they tell nothing; they stay queued")
        return report.exit_code
    _tell(loaded, found, as_json=as_json)
    if report.left and not as_json:
        talk(f"the rest: {command_line(loaded, 'run', job.name, *_again(loaded))}", quiet=loaded.settings.quiet)
    return report.exit_code


def _tell(loaded: Loaded, found: "Outlook", *, as_json: bool) -> None:
    if as_json:
        print_json(facts(found))
        return
    estimate = found.estimate
    if not estimate.requests:
        talk(f"nothing is queued of {one_line(found.name, 80)}", quiet=loaded.settings.quiet)
        return
    table(("", "low", "likely", "high"), _rows(found), right=(1, 2, 3))
    for line in notes(found):
        talk(line, quiet=loaded.settings.quiet)
    if found.room is not None and found.room.database:
        from batchrunner.cli.room import told

        db = loaded.settings.db
        talk(f"vectors: {told(found.room, db, db)}", quiet=loaded.settings.quiet)


def _rows(found: "Outlook") -> list[Sequence[str]]:
    estimate = found.estimate
    places = 6 if max(estimate.likely, estimate.high or 0) < PICO // 100 else None
    rows: list[Sequence[str]] = [
        ("requests", *[f"{estimate.requests:,}"] * 3),
        ("tokens in", *_ends(estimate.input, count)),
        ("tokens out", *_ends(estimate.output, count)),
    ]
    if priced(estimate):
        rows.append(("cost", *_ends(estimate.cost, lambda pico: dollars(int(pico), places))))
    else:
        rows.append(("cost", *["unknown"] * 3))
    rows.append(("time", *_times(found.time)))
    return rows


def _ends(amount: "Range", shown: Callable[[float], str]) -> tuple[str, str, str]:
    return shown(amount.low), shown(amount.likely), UNBOUNDED if amount.high is None else shown(amount.high)


def _times(time: "Time | None") -> tuple[str, str, str]:
    if time is None:
        return ("unknown",) * 3
    ends = (time.low, time.likely, time.high)
    low, likely, high = ("unknown" if seconds is None else duration(seconds) for seconds in ends)
    return low, likely, high


def notes(found: "Outlook") -> list[str]:
    """Return how these figures are known, and what is not in them, in words."""
    from batchrunner.cli.confirm import short_of  # late: `--help` is to come at once

    estimate = found.estimate
    lines = [f"of {plural(estimate.requests, 'request')} of {one_line(found.name, 80)}{_asked(estimate)}"]
    if found.sampled is None:
        lines += [f"tokens in, {_models(lanes)}: {_METHODS[method]}" for method, lanes in _by_method(estimate)]
        lines.append("tokens out: low is none, high every bound used up, likely " + _likely(estimate))
    else:
        lines += _sample_notes(found.sampled)
    lines += _not_in_it(estimate)
    lines.append(_time_note(found.time))
    lines += [short_of(each) for each in found.shortfalls]
    return lines


def _not_in_it(estimate: "Estimate") -> list[str]:
    """Return what the sums hold nothing of, and what is assumed in them."""
    lines = []
    if estimate.unpriced:
        names = one_line(", ".join(estimate.unpriced), 80)
        lines.append(f"in no sum: the cost of {names}, which has no price for what is asked of it")
    if estimate.untold:
        names = one_line(", ".join(estimate.untold), 80)
        lines.append(
            f"in no sum: {names}, where requests do not tell how much they ask for (a sound of unknown length)"
        )
    if estimate.assumed:
        lines.append(f"at an assumed price: {one_line(', '.join(estimate.assumed), 80)} (--assume-price)")
    if estimate.going_on:
        lines.append(f"bought before, and at no further cost: {plural(estimate.going_on, 'request')}")
    return lines


def _asked(estimate: "Estimate") -> str:
    """Return what is asked for in other units than tokens."""
    units = amounts(estimate.units)
    return f", {', '.join(units)}" if units else ""


def _by_method(estimate: "Estimate") -> "list[tuple[str, list[LaneEstimate]]]":
    found: dict[str, list[LaneEstimate]] = {}
    for lane in estimate.lanes:
        found.setdefault(lane.method, []).append(lane)
    return list(found.items())


def _models(lanes: "Sequence[LaneEstimate]") -> str:
    return one_line(", ".join(dict.fromkeys(lane.lane.model for lane in lanes)), 80)


def _likely(estimate: "Estimate") -> str:
    taught = "as earlier answers used them" if estimate.calibrated else "a guess: a fourth of the bound"
    return f"{taught}, or 512 where there is none" if estimate.output.high is None else taught


def _sample_notes(drawn: "Sampled") -> list[str]:
    ran = f"{drawn.succeeded:,} succeeded, {drawn.failed:,} failed"
    if drawn.unfinished:
        ran += f", {drawn.unfinished:,} have no outcome yet"
    if drawn.unknown:
        ran += f", the cost of {drawn.unknown:,} is unknown"
    lines = [
        f"by {plural(drawn.rows, 'row')} drawn at random, whose results are kept: {ran}",
        f"they cost {_money(drawn)}",
        "low and high are to hold the truth in 90 of 100 cases, but for rows of a kind that is too rare to be drawn"
        if drawn.rows < drawn.requests
        else "these were all of them, so nothing is projected",
    ]
    if drawn.unseen is not None:
        lines.append(
            f"with as many of those as can be expected, each as dear as its bound allows: {dollars(drawn.unseen)}"
        )
    if drawn.unfinished:
        lines.append("rows without an outcome may be unlike the others: the rest may take more than is projected")
    if drawn.cost is None:
        lines.append("no row tells its cost, so the cost is what was estimated before")
    return lines


def _money(drawn: "Sampled") -> str:
    parts = [dollars(drawn.recorded)]
    beside = {
        "estimated": drawn.estimated,
        "wasted": drawn.wasted,
        "possibly billed, not projected": drawn.possibly_billed,
    }
    for kind, amount in beside.items():
        if amount:
            parts.append(f"+ {dollars(amount)} {kind}")
    if drawn.unpriced:
        parts.append(f"+ {plural(drawn.unpriced, 'call')} of unknown cost")
    return " ".join(parts)


def _time_note(time: "Time | None") -> str:
    if time is None:
        return (
            "time: unknown, as nothing limits it that was set, and no call was made yet that tells how long they take"
        )
    if time.likely is None:
        return f"time: at least this, by the limit of {_BOUNDS[time.bound]}; how long calls take is not known yet"
    return f"time: bound by {_BOUNDS[time.bound]}; retries and pauses come on top"
