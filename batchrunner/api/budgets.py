"""Whether budgets can hold for what is queued: refused before anything is sent where they can't."""

from collections.abc import Sequence

from batchrunner.core.budget import Sheet
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.estimate import upper
from batchrunner.core.job import Job
from batchrunner.core.pricing import RateCard
from batchrunner.runner.parts import Parts
from batchrunner.store.base import Reader, Workload


def refuse_uncountable(reader: Reader, parts: Parts, jobs: Sequence[Job] | None) -> None:
    """Raise ConfigurationError where a budget would count requests whose worst case nobody knows.

    What can't be told from sums over what is queued (a sound whose length nobody knows) is refused row by row while the
    run goes on: its job is held back.
    """
    now = parts.clock.now()
    sheet = parts.queue.sheet(now)
    chosen = reader.jobs() if jobs is None else jobs
    counted = [job.id for job in chosen if parts.money.max_cost is not None or _counts(sheet, job)]
    for work in reader.workload(counted) if counted else ():
        if work.going_on < work.requests:  # what only goes on with what was bought before is let through
            card = parts.prices.card(work.lane.provider, work.lane.model, now)
            _refuse(work, card, parts.most_out(work.lane))


def _counts(sheet: Sheet, job: Job) -> bool:
    """Whether a budget counts rows of a job; that of a tag which single lines have is asked row by row."""
    return any(line.reach is None or line.reach.holds(job.id, None) for line in sheet.lines)


def _refuse(work: Workload, card: RateCard | None, most_out: int | None) -> None:
    model = f"{work.lane.provider} {work.lane.model}"
    if card is None:
        raise ConfigurationError(
            f"a budget can't hold for {model}: the price book has no price for it, and unknown is not 0",
            hint="put its price into a file of yours (price_files), or assume one in dollars per million tokens of"
            " input and output, as in --assume-price 0.50/1.50; what that prices is shown as estimated",
        )
    endless = work.unbounded - work.counted > 0 and card.hold(upper(1), most_out) is None
    if endless:
        raise ConfigurationError(
            f"a budget can't hold for {model}: {work.unbounded:,} of its requests set no bound on their output",
            hint="bound them (--set max_tokens=512 when they are loaded), say how many tokens the model's context holds"
            f' (context = N in [providers.{work.lane.provider}.models."{work.lane.model}"]), or assume a bound:'
            " --assume-output 4k",
        )
    if any(card.hold(0, most_out if work.unbounded else 0, units) is None for units in work.units):
        raise ConfigurationError(
            f"a budget can't hold for {model}: it is priced by tokens, and its requests do not tell how many",
            hint="leave these requests to a run without a budget, or put a price for their unit into a file of yours",
        )
