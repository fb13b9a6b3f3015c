"""What was certainly billed, by day, job, model, rate card and tags: the rows that an export for finance is made of."""

from collections.abc import Iterator

from sqlalchemy import Connection, select

from batchrunner.core.slices import EVERYTHING, Within
from batchrunner.core.usage import OTHERS, Usage
from batchrunner.store.costs import grouped, rate_cards
from batchrunner.store.moneyvalues import ChargeRow
from batchrunner.store.tables import jobs, models
from batchrunner.store.tagging import TagsOf

_BY = (
    *("day", "job_id", "model_id", "endpoint", "tag_set_id", "rate_id", "account", "class"),
    *("billing", "use", "usage_from"),
)
_SUMS = (
    "sum(n)",
    "sum(unpriced)",
    "sum(cost)",
    *(f"sum({name})" for name in ("tin", "tcached", "tout", "treason", *OTHERS)),
)


def charges(connection: Connection, job_id: int | None, within: Within = EVERYTHING) -> Iterator[ChargeRow]:
    """Yield what was billed, oldest day first. What may have been billed is in none of them: it is no charge yet."""
    cards, tags = rate_cards(connection), TagsOf(connection)
    names = {row[0]: row[1] for row in connection.execute(select(jobs.c.id, jobs.c.name))}
    lanes = {
        row[0]: (row[1], row[2]) for row in connection.execute(select(models.c.id, models.c.provider, models.c.model))
    }
    for row in sorted(grouped(connection, _BY, _SUMS, job_id, within)):
        day, job, lane, endpoint, tag_set, rate, account, processing, billing, use, source, n, unpriced, cost = row[:14]
        if billing != "billed":
            continue
        provider, model = lanes.get(lane, ("(deleted)", "(deleted)"))
        yield ChargeRow(
            day=day,
            job_id=job,
            job=names.get(job, "(deleted)"),
            lane_id=lane,
            provider=provider,
            model=model,
            endpoint=endpoint,
            account=account,
            processing=processing,
            used=use == "used",
            reported=source == "provider",
            rate_id=rate or None,
            card=cards.get(rate),
            tags=tuple(sorted(tags.of(job, tag_set).items())),
            usage=Usage(*row[14:]),
            attempts=n,
            unpriced=unpriced,
            cost=cost,
        )
