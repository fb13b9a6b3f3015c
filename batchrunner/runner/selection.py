"""Which requests one run works on: all, the first N, or N at random. The rest stays queued for the next run."""

import heapq
import random
from collections.abc import Iterable
from itertools import islice

from batchrunner.store.base import Selection


def first(queued: Iterable[int], n: int) -> Selection:
    """Select the first ``n`` of the queued ids, which come in input order."""
    return Selection(upto=max(islice(queued, n), default=0))


def sample(queued: Iterable[int], n: int, seed: str) -> Selection:
    """Select ``n`` of the queued ids at random; memory holds ``n`` of them, however many there are."""
    dice = random.Random(seed)  # noqa: S311 - a sample of rows, nothing secret
    chosen = heapq.nsmallest(n, ((dice.random(), request_id) for request_id in queued))
    return Selection(ids=tuple(sorted(request_id for _, request_id in chosen)))
