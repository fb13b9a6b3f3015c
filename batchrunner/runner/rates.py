"""The rate card of each lane, written down before the first attempt that uses it."""

from batchrunner.core.estimate import upper
from batchrunner.core.pricing import PriceBook, RateCard
from batchrunner.core.request import Head, Opening
from batchrunner.core.usage import units_value
from batchrunner.endpoints.registry import POLLED
from batchrunner.runner.lanes import RunLane
from batchrunner.runner.offload import Offload
from batchrunner.store.base import Queue

_FOR_EVER = 2**63 - 1


class Rates:
    """Prices attempts by what holds at the moment (UTC) at which they are opened."""

    def __init__(self, book: PriceBook, queue: Queue, offload: Offload) -> None:
        self._book = book
        self._queue = queue
        self._offload = offload

    def renew(self, book: PriceBook) -> None:
        """Price by another book from now on; lanes are to look up their cards anew."""
        self._book = book

    async def look_up(self, lane: RunLane, now: int) -> None:
        """Give a lane the card of this moment, unless it has it, and until when it holds."""
        if lane.is_priced(now):
            return
        provider, model = lane.lane.provider, lane.lane.model
        book = None
        while book is not self._book:  # it may be renewed while the card is written down
            book = self._book
            card = book.card(provider, model, now)
            lane.rate = None if card is None else (await self._write(lane, card), card)
        lane.rate_since, lane.rate_until = now, book.changes(provider, model, now) or _FOR_EVER

    async def _write(self, lane: RunLane, card: RateCard) -> int:
        rate_id = await self._offload.run(lambda: self._queue.rate(card))
        lane.cards[rate_id] = card
        return rate_id


def opening(lane: RunLane, head: Head, now: int) -> Opening:
    """Return the opening of an attempt with its rate card and hold; its lane is priced for now.

    Where no tokens were estimated it is billed by something else: what it costs at worst is unknown, which is not 0.
    """
    if lane.rate is None:
        return Opening(head, now, None, None)
    rate_id, card = lane.rate
    if head.est_in == 0 and head.units is None:
        return Opening(head, now, rate_id, None)
    if card.assumed and head.endpoint in POLLED:
        return Opening(head, now, rate_id, None)  # a price of tokens says nothing of a video
    units = None if head.units is None else units_value(head.units)
    most_out = lane.most_out if head.max_out is None else head.max_out
    return Opening(head, now, rate_id, card.hold(upper(head.est_in), most_out, units))


def card_of(lane: RunLane, rate_id: int | None) -> RateCard | None:
    """Return the card by which an attempt of this run was opened, whatever the price is now; None: unpriced."""
    return None if rate_id is None else lane.cards[rate_id]
