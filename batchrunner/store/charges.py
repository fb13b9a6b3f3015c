"""What was certainly billed, by day, job, model, rate card and tags: the rows that an export for finance is made of.

The totals hold them, but for cards whose prices depend on the length of a prompt: those attempts are looked at.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from sqlalchemy import Connection, select

from batchrunner.core.pricing import RateCard
from batchrunner.core.slices import EVERYTHING, Within
from batchrunner.core.usage import OTHERS, Usage
from batchrunner.store.costs import Values, day_in, grouped
from batchrunner.store.moneytables import rates
from batchrunner.store.moneyvalues import ChargeRow
from batchrunner.store.tables import jobs, models
from batchrunner.store.tagging import TagsOf

_BY = (
    *("day", "job_id", "model_id", "endpoint", "tag_set_id", "rate_id", "account", "class"),
    *("use", "usage_from"),
)
_SUMS = (
    "sum(n)",
    "sum(unpriced)",
    "sum(cost)",
    *(f"sum({name})" for name in ("tin", "tcached", "tout", "treason", *OTHERS)),
)


def charges(connection: Connection, job_id: int | None, within: Within = EVERYTHING) -> Iterator[ChargeRow]:
    """Yield what was billed, oldest day first. What may have been billed is in none of them: it is no charge yet."""
    cards, tags = _cards(connection), TagsOf(connection)
    names = {row[0]: row[1] for row in connection.execute(select(jobs.c.id, jobs.c.name))}
    lanes = {
        row[0]: (row[1], row[2]) for row in connection.execute(select(models.c.id, models.c.provider, models.c.model))
    }
    for row in sorted(_billed(connection, cards, _BY, _SUMS, job_id, within)):
        day, job, lane, endpoint, tag_set, rate, account, processing, use, source, above, n, unpriced, cost = row[:14]
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
            above=above,
            tags=tuple(sorted(tags.of(job, tag_set).items())),
            usage=Usage(*row[14:]),
            attempts=n,
            unpriced=unpriced,
            cost=cost,
        )


def savings(connection: Connection, job_id: int | None, within: Within = EVERYTHING) -> int:
    """Return what cached input tokens would have cost more as fresh ones, in pico-dollars, less the discounts.

    By the cards that their attempts were priced by; where there is none, or it has no price of its own for them,
    nothing was saved. Below 0 where a card's cached tokens are dearer.
    """
    saved, cards = 0, _cards(connection)
    if all(tariff.cached is None for card in cards.values() for tariff in (card, *card.tiers)):
        return 0
    for rate, above, cached in _billed(connection, cards, ("rate_id",), ("sum(tcached)",), job_id, within):
        card = cards.get(rate)
        prices = None if card is None else card.of_prompt(above + 1)
        if card is not None and prices is not None and prices.cached is not None and prices.input is not None:
            saved += card.net(cached * (prices.input - prices.cached))
    return saved


def _cards(connection: Connection) -> dict[int, RateCard]:
    rows = connection.execute(select(rates.c.id, rates.c.card))
    return {row[0]: msgspec.json.decode(row[1], type=RateCard) for row in rows}


def _billed(
    connection: Connection,
    cards: Mapping[int, RateCard],
    columns: Sequence[str],
    sums: Sequence[str],
    job_id: int | None,
    within: Within,
) -> Iterator[Values]:
    """Yield sums of what was billed by these columns (a rate card's number among them) and, after them, by its tier."""
    tiered = {number: card for number, card in cards.items() if card.tiers}
    at, width = columns.index("rate_id"), len(columns)
    for row in grouped(connection, (*columns, "billing"), sums, job_id, within):
        if row[width] == "billed" and row[at] not in tiered:
            yield (*row[:width], 0, *row[width + 1 :])
    if tiered:
        source = (f"WITH {_by_prompt(tiered, day_in(connection, within.zone))} ", "prompts")
        yield from grouped(connection, (*columns, "above"), sums, job_id, within, source)


def _by_prompt(tiered: Mapping[int, RateCard], day: str) -> str:
    """Return a table expression, called ``prompts``: billed attempts of these cards, each with its tier."""
    longer = [
        f"WHEN rate_id = {int(number)} AND tin > {int(tier.above_tokens)} THEN {int(tier.above_tokens)}"
        for number, card in tiered.items()
        for tier in reversed(card.tiers)
    ]
    units = ", ".join(f"ifnull({name}, 0) AS {name}" for name in ("tin", "tcached", "tout", "treason", *OTHERS))
    return f"""prompts AS (SELECT {day} AS day, job_id, model_id, endpoint, ifnull(tag_set_id, 0) AS tag_set_id,
 rate_id, account, class, use, usage_from, CASE {" ".join(longer)} ELSE 0 END AS above, 1 AS n,
 cost IS NULL AS unpriced, ifnull(cost, 0) AS cost, {units} FROM attempts LEFT JOIN units ON attempt_id = id
 WHERE ended IS NOT NULL AND billing = 'billed' AND rate_id IN ({", ".join(map(str, map(int, tiered)))}))"""  # noqa: S608
