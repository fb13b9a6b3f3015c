"""The whole price book: the program's, the files', and what the database of these settings holds."""

from dataclasses import dataclass
from typing import NamedTuple

from batchrunner.api.reads import reads
from batchrunner.config import Loaded
from batchrunner.core.clock import Clock, SystemClock
from batchrunner.core.pricing import PriceBook
from batchrunner.wiring import price_book, reading


def whole_book(loaded: Loaded) -> PriceBook:
    """Return every price that calls of these settings are priced by; where there is no database, those of files.

    Raises ConfigurationError for a file, and DatabaseError for a database, that can't be read.
    """
    settings = loaded.settings
    if not settings.db.exists() or not settings.db.stat().st_size:
        return price_book(settings)
    with reading(settings.db) as reader:
        return price_book(settings, reader.prices())


class Unpriced(NamedTuple):
    """A model that is used here, and of whose calls some have no known cost."""

    provider: str
    model: str
    queued: int
    """Requests that wait."""
    calls: int
    """Calls that were, or may have been, paid for and have no known cost."""
    priced: bool
    """Whether the book has a price for it now: what is opened from now on has it."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceCheck:
    """What ``prices check`` found."""

    models: int
    """Models that are used here."""
    unpriced: tuple[Unpriced, ...]

    @property
    def missing(self) -> tuple[Unpriced, ...]:
        """Those of which the next call would have no known cost either."""
        return tuple(each for each in self.unpriced if not each.priced)


def check_prices(loaded: Loaded, *, clock: Clock | None = None) -> PriceCheck:
    """Find the models that are used in the database and have no price, or had none when they were called.

    Raises DatabaseError where there is no database.
    """
    now = (clock or SystemClock()).now()
    with reads(loaded) as read:
        book = price_book(loaded.settings, read.prices())
        rows = read.costs(("provider", "model"))
        unknown = {(provider or "", model or ""): row.unpriced for (provider, model), row in ((r.key, r) for r in rows)}
        waiting = {(row.lane.provider, row.lane.model): row.queued for row in read.lanes()}
    used = dict.fromkeys((*unknown, *waiting))
    found = []
    for provider, model in used:
        priced = book.card(provider, model, now) is not None
        calls = unknown.get((provider, model), 0)
        if calls or not priced:
            queued, reason = waiting.get((provider, model), 0), _reason(book, provider, model, now, priced=priced)
            found.append(Unpriced(provider, model, queued, calls, priced, reason))
    return PriceCheck(models=len(used), unpriced=tuple(found))


def _reason(book: PriceBook, provider: str, model: str, now: int, *, priced: bool) -> str:
    if priced:
        return "it has a price now; those calls had none, used what it has no price for, or had no upper bound"
    later = book.changes(provider, model, now)
    if later is not None and book.card(provider, model, later) is not None:
        return "its price begins later"
    return "its entry says that the cost is unknown" if book.knows(provider, model) else "no entry fits it"
