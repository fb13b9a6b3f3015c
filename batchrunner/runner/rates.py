"""The rate card of each lane on each day, written down before the first attempt that uses it."""

from batchrunner.core.clock import DAY
from batchrunner.core.estimate import upper
from batchrunner.core.pricing import PriceBook, RateCard
from batchrunner.core.request import Head, Opening
from batchrunner.core.usage import units_value
from batchrunner.endpoints.registry import POLLED
from batchrunner.runner.lanes import RunLane
from batchrunner.runner.offload import Offload
from batchrunner.store.base import Queue


class Rates:
    """Prices attempts by the day (UTC) on which they are opened."""

    def __init__(self, book: PriceBook, queue: Queue, offload: Offload) -> None:
        self._book = book
        self._queue = queue
        self._offload = offload

    async def look_up(self, lane: RunLane, now: int) -> None:
        """Give a lane the card of the day, unless it has it."""
        if lane.is_priced(now):
            return
        if lane.rate is not None:
            lane.earlier[lane.rate[0]] = lane.rate[1]
        card = self._book.card(lane.lane.provider, lane.lane.model, now)
        lane.rate = None if card is None else (await self._offload.run(lambda: self._queue.rate(card)), card)
        lane.rate_day = now // DAY


def opening(lane: RunLane, head: Head, now: int) -> Opening:
    """Return the opening of an attempt with its rate card and hold; its lane is priced for today.

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
    """Return the card that an attempt of this run was opened by: not today's, where it was opened before midnight."""
    if lane.rate is not None and lane.rate[0] == rate_id:
        return lane.rate[1]
    return None if rate_id is None else lane.earlier.get(rate_id)
