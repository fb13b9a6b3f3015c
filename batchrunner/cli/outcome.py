"""What is said and written when a run has ended: where results are, what failed, what it cost, what to do next."""

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from batchrunner.api import ExportSummary, Job, JobStatus, RunReport, Session, Tail
from batchrunner.cli.held import tell_pauses
from batchrunner.cli.render import talk
from batchrunner.cli.text import duration, one_line, plural, several
from batchrunner.core.attempt import FailureKind
from batchrunner.core.budget import Period, Scope
from batchrunner.core.clock import SECOND, SystemClock
from batchrunner.core.corpus import TextCounts
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.pricing import dollars
from batchrunner.core.retry import Scope as HaltScope
from batchrunner.runner.spending import Shortage
from batchrunner.runner.tally import Tally
from batchrunner.store.base import BY_HAND

ADVICE = {
    FailureKind.AUTH: "the key was refused: check the variable that holds it, then run the same command again",
    FailureKind.NO_CREDIT: "the account is empty or at its limit: add credit, then run the same command again",
    FailureKind.MODEL_UNAVAILABLE: "check the model's name with `batchrunner models`, or replace it with --model",
    FailureKind.MISCONFIGURED: "check the base URL with `batchrunner doctor`",
}
"""What to do about what stops a lane."""

PARAMETER = (
    "embed again without what is refused, as a corpus of another name (--name NAME), and end this one with"
    " `batchrunner cancel`"
)
"""What to do about a model that refuses what all texts of a corpus ask for."""

LATER = "run the same command again later, or see what answers with `batchrunner doctor`"
"""What to do about an outage or a quota."""


def targets(jobs: Sequence[Job] | None, output: str | None, held: Session) -> list[tuple[Job, str]]:
    """Return which job is exported where; several jobs go into a folder. Raises ConfigurationError."""
    if output is None:
        return []
    chosen = list(jobs) if jobs is not None else held.jobs()
    if len(chosen) == 1:
        return [(chosen[0], output)]
    if not Path(output).is_dir():
        raise ConfigurationError(
            f"{len(chosen)} jobs can't go into one file", hint=f"make a folder: mkdir {shlex.quote(output)}"
        )
    return [(job, str(Path(output) / f"{file_name(job)}.jsonl")) for job in chosen]


def file_name(job: Job) -> str:
    """Return a job's name as the name of a file: in a database from somebody else it could lead out of the folder."""
    plain = re.sub(r"[^\w.+@=, -]", "_", job.name).lstrip(".")[:120]
    return plain if plain == job.name else f"{plain}-{job.id}"


def refuse_foreign_targets(held: Session, jobs: Sequence[Job] | None, output: str | None, *, force: bool) -> None:
    """Raise before a run what would make its export fail after it."""
    for job, path in targets(jobs, output, held):
        held.check_target(job, path, force=force)


def export_all(held: Session, jobs: Sequence[Job] | None, output: str | None, *, force: bool) -> list[ExportSummary]:
    """Write a whole snapshot of what is there."""
    return [held.export(job, path, force=force) for job, path in targets(jobs, output, held)]


def tell_outcome(
    held: Session,
    jobs: Sequence[Job] | None,
    report: RunReport | None,
    outputs: Sequence[ExportSummary],
    output: str | None,
) -> list[JobStatus]:
    """Say how it ended and what comes next; return where the jobs stand."""
    quiet = held.settings.quiet
    if report is None:
        talk("nothing is left to do", quiet=quiet)
    else:
        tell_report(report, quiet=quiet)
    for exported in outputs:
        _tell_exported(exported, quiet=quiet)
    standing = [held.with_texts(status) for status in held.statuses(jobs)]
    for status in standing:
        talk(_standing(status), quiet=quiet)
        if status.counts.flagged:
            talk(f"  flagged: {_command('results --flagged', status.job.name, held)}", quiet=quiet)
        if status.counts.failed + status.counts.quarantined if status.texts is None else status.texts.failed:
            talk(f"  look: {_command('errors', status.job.name, held)}", quiet=quiet)
            talk(f"  again: {_command('retry', status.job.name, held)}", quiet=quiet)
    if report is not None and report.left:
        talk(_left_text(report))
        tell_held(held, jobs)
    return standing


def _left_text(report: RunReport) -> str:
    left = plural(report.left, "request")
    if report.held_by_hand:
        return f"{left} held back by hand"
    why = "by --limit or --sample" if report.left == report.deselected else "still queued"
    return f"{left} {why}; go on with: {resume_command()}"


def tell_report(report: RunReport, *, quiet: bool) -> None:
    """Say how a run went, and what stopped it."""
    tally = report.tally
    for halt in report.standing:
        talk(f"stopped {halt.ref}: {halt.message}")
        parameter = halt.kind is FailureKind.MISCONFIGURED and halt.scope is HaltScope.LANE
        talk(f"  try: {PARAMETER if parameter else ADVICE.get(halt.kind, LATER)}")
    for shortage in report.shortages:
        talk(f"stopped by {one_line(shortage.message, 300)}" if shortage.budget else f"stopped: {shortage.message}")
        talk(f"  try: {_more_money(shortage)}")
    if report.doubles:
        talk(f"{plural(report.doubles, 'answer')} bore the id of another request's answer and were not taken")
        talk("  try: look for a proxy or a cache on the way to this host that mixes up answers")
    if report.expired:
        talk("ended by its deadline")
    if report.slept:
        talk(f"the machine slept for {duration(report.slept)} meanwhile; calls that it cut off were sent again")
    for problem in report.problems:
        talk(f"note: {problem}")
    if report.tail.old:
        rows = plural(report.tail.old, "row")
        talk(f"{rows} at once older than 10 min, the longest call took {duration(report.tail.longest)}", quiet=quiet)
    if tally.split:
        halved = plural(tally.split, "pack")
        talk(f"{halved} halved in search of texts at fault: at most {2 * tally.split:,} calls more", quiet=quiet)
    seconds = (report.ended - report.started) / SECOND
    texts = f" ({plural(tally.texts, 'text')})" if tally.texts else ""
    talk(
        f"{plural(tally.succeeded, 'request')} succeeded{texts}{_flagged(tally)}, {tally.failed:,} failed,"
        f" {plural(tally.attempts, 'call')} in {duration(seconds)}",
        quiet=quiet,
    )


def _more_money(shortage: Shortage) -> str:
    """Return what lets the jobs go on that a budget holds back."""
    budget = shortage.budget
    if budget is None:
        return "put its price into a file of yours (price_files), bound its output, or assume: --assume-price IN/OUT"
    if budget.scope is Scope.RUN:
        return "the same command spends up to --max-cost again: it counts what one run buys; or give it a higher one"
    whose = {Scope.JOB: ["--job", budget.ref], Scope.TAG: ["--tag", shlex.quote(budget.ref)]}.get(budget.scope, [])
    period = [] if budget.period is Period.EVER else [f"--{budget.period.value}"]
    words = " ".join(["batchrunner budget set AMOUNT", *whose, *period])
    wait = "" if budget.period is Period.EVER else f", or wait for the next {budget.period.value} (UTC)"
    return f"{words} raises it{wait}; then run the same command again"


def _flagged(tally: Tally) -> str:
    flagged = f" ({tally.flagged:,} flagged)" if tally.flagged else ""
    return f"{flagged}, {tally.asked_again:,} asked again" if tally.asked_again else flagged


def tail_text(tail: Tail) -> str:
    """Return what the calls that are out cost at most, and how long the longest has been out; empty where none is."""
    if not tail.out:
        return ""
    cost = f"at most {dollars(tail.hold)}" if tail.hold or not tail.unpriced else "of unknown cost"
    if tail.hold and tail.unpriced:
        cost += f" and {tail.unpriced:,} of unknown cost"
    return f" ({cost}, the longest for {duration(tail.longest)})"


def tell_rescue(held: Session) -> None:
    """Say what a runner that died left behind."""
    lost, hold, unpriced, quarantined = held.rescue
    taken = held.taken
    if taken.taken:
        talk(f"took in {plural(taken.taken, 'answer')} that the last run had put by beside the database")
    if taken.strange:
        talk(f"{plural(taken.strange, 'answer')} put by belong to no request here; their file was set aside")
    if lost:
        price = f", at most {dollars(hold)}" if hold else ""
        unknown = f" ({unpriced:,} of unknown cost)" if unpriced else ""
        talk(f"the last run died with {plural(lost, 'call')} open: possibly billed{price}{unknown}; queued again")
    if quarantined:
        aside = plural(quarantined, "request")
        talk(f"{aside} set aside: in the air whenever a run died; `batchrunner retry JOB --quarantined` tries again")


def _tell_exported(exported: ExportSummary, *, quiet: bool) -> None:
    if exported.out == "-":
        return
    if exported.vectors is None:
        talk(f"results: {exported.out} ({plural(exported.succeeded, 'line')})", quiet=quiet)
    else:
        talk(_vectors_text(exported.vectors, exported.succeeded), quiet=quiet)
    if exported.errors:
        talk(_errors_text(exported), quiet=quiet)
    if exported.swept:
        talk(f"removed {plural(exported.swept, 'unfinished file')} of an export that was killed", quiet=quiet)


def _errors_text(exported: ExportSummary) -> str:
    if exported.vectors is None:
        return f"failures: {exported.errors} ({plural(exported.failed, 'line')})"
    return f"without a vector: {exported.errors} ({plural(exported.failed, 'text')})"


def _vectors_text(paths: Sequence[str], vectors: int) -> str:
    if not paths:
        return "no vectors are there yet, so no file of them was written"
    return f"vectors: {several(paths)} ({plural(vectors, 'vector')})"


def _standing(status: JobStatus) -> str:
    counts, costs = status.counts, status.costs
    line = f"job {status.job.id} ({status.job.name}): {counts.succeeded:,} of {counts.total:,} succeeded"
    if counts.flagged:
        line += f" ({counts.flagged:,} flagged)"
    if counts.failed:
        line += f", {counts.failed:,} failed"
    if status.texts is not None:
        line = f"job {status.job.id} ({status.job.name}): {_texts(status.texts)}"
    if costs is None:
        return line
    line += f"; cost {dollars(costs.recorded)}"
    if costs.estimated:
        line += f" + {dollars(costs.estimated)} estimated"
    if costs.possibly_billed:
        line += f" + up to {dollars(costs.possibly_billed)} possibly billed"
    if costs.wasted:
        line += f" + {dollars(costs.wasted)} wasted"
    if costs.unpriced:
        line += f" + {plural(costs.unpriced, 'call')} unpriced"
    return line


def _texts(texts: TextCounts) -> str:
    """Return what became of the texts of a corpus."""
    told = f"{texts.embedded:,} of {plural(texts.total, 'text')} embedded"
    others = {"failed": texts.failed, "empty": texts.empty, "too long": texts.too_long}
    return ", ".join([told, *(f"{number:,} {name}" for name, number in others.items() if number)])


def tell_held(held: Session, jobs: Sequence[Job] | None) -> None:
    """Say what a person holds back of these jobs; what a budget does was told with how the run went."""
    every = (pause for status in held.statuses(jobs) for pause in status.pauses)
    pauses = dict.fromkeys(pause for pause in every if pause.reason == BY_HAND)
    tell_pauses(held.loaded, list(pauses), held.jobs(), SystemClock().now())


def resume_command() -> str:
    """Return the command line that goes on: the same one."""
    return "batchrunner " + " ".join(shlex.quote(word) for word in sys.argv[1:])


def _command(verb: str, job: str, held: Session) -> str:
    return f"batchrunner {verb} {shlex.quote(job)} --db {shlex.quote(str(held.settings.db))}"
