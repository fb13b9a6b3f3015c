"""What an era's two sets of books add up to."""

from collections import Counter
from pathlib import Path

from batchrunner.api.audit import Sheet
from batchrunner.core.usage import Usage
from batchrunner.simulator import Entry
from tests.invariants import ask
from tests.soak.figures import Figures


def add_up(db: Path, calls: list[Entry], figures: Figures) -> None:
    """Add an era that has ended."""
    sheet = Sheet(db, calls)
    figures.rows += len(sheet.rows)
    figures.outcomes.update(row.state for row in sheet.rows.values())
    figures.calls += len(sheet.calls)
    figures.statuses.update(call.status for call in sheet.calls)
    figures.faults.update(call.fault for call in sheet.calls if call.fault)
    bodies = Counter(call.body_sha256 for call in sheet.calls if call.billed)
    figures.repeated += sum(number - 1 for number in bodies.values())
    lost = lost_by_runner(db)
    figures.lost += sum(lost.values())
    figures.worst_lost = max(figures.worst_lost, *lost.values(), 0)
    figures.money.update(_money(sheet))


def lost_by_runner(db: Path) -> dict[int, int]:
    """Lost attempts by the runner that left them."""
    return dict(ask(db, "SELECT runner_id, count(*) FROM attempts WHERE outcome = 'lost' GROUP BY runner_id"))


def _money(sheet: Sheet) -> Counter[str]:
    """Pico-dollars by what they are; an answer of a call that has no price counts nowhere."""
    sums: Counter[str] = Counter()
    for attempt in sheet.attempts.values():
        sums["recorded"] += (attempt.cost or 0) if attempt.usage_from == "provider" else 0
        sums["estimated"] += (attempt.cost or 0) if attempt.usage_from == "estimated" else 0
        sums["possibly"] += (attempt.hold or 0) if attempt.billing == "unknown" else 0
    for call in sheet.calls:
        attempt = sheet.by_attempt and sheet.attempts.get(_id(call))
        card = sheet.cards.get(attempt.rate_id or 0) if attempt else None
        if call.billed and card is not None and attempt:
            cost = card.cost(Usage(call.input_tokens, call.cached_tokens, call.output_tokens))
            sums["bill"] += cost
            sums["bill of these" if attempt.billing == "unknown" else "bill of answers"] += cost
    for (wasted,) in ask(sheet.db, "SELECT coalesce(sum(cost), 0) FROM attempts WHERE use = 'wasted'"):
        sums["wasted"] += wasted
    return sums


def _id(call: Entry) -> int:
    mark = call.client_request_id or ""
    return int(mark) if mark.isdecimal() else 0
