"""One answer for two requests: the second one must not have it.

A connection that lost count, or a cache that took one question for another, hands out an answer twice, with the id that
the provider gave it. Pure; costs a request two look-ups and a short hash.
"""

from batchrunner.core.attempt import Billing, Failure, FailureKind, Reply
from batchrunner.core.request import Head

KEPT = 4096
"""Answers that are remembered at least; an answer goes astray within seconds, if it does."""
NO_IDS = 3
"""So often may different answers bear one id before a provider's ids are known to be none."""
_TAIL = 256
"""Bytes at the end of an answer, with counts and the last words, that tell it from another one."""


_Seen = tuple[int, bytes, int]
"""Request, digest of what was sent, and what tells the answer from another one."""


class Doubles:
    """Remembers the latest answers of a run by provider and id, in bounded room.

    The first request keeps the answer: a finished request is never changed, and on a connection that slips it is the
    later call that gets what is not its own. Two requests with the very same body may share an answer, as a cache in
    front of a provider makes them; so may two tries of one request. A provider that gives different answers one id
    (some small servers draw it from a thousand) is believed after ``NO_IDS`` of them.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self.refused = 0
        """Answers that were not taken."""
        self._kept = kept
        self._young: dict[tuple[str, str], _Seen] = {}
        self._old: dict[tuple[str, str], _Seen] = {}
        self._reused: dict[str, int] = {}

    def refuse(self, provider: str, head: Head, reply: Reply) -> Failure | None:
        """Return why this request must not have this answer; None, and remember it, where it may."""
        if reply.request_id is None:
            return None
        key = (provider, reply.request_id)
        seen = self._young.get(key) or self._old.get(key)
        body = reply.body if reply.vectors is None else reply.vectors.data
        seal = len(body) ^ hash(body[-_TAIL:])
        if seen is None:
            if len(self._young) >= self._kept:
                self._old, self._young = self._young, {}
            self._young[key] = (head.id, head.digest, seal)
            return None
        first, digest, first_seal = seen
        if first == head.id or digest == head.digest or self._is_no_id(provider, first_seal == seal):
            return None
        self.refused += 1
        text = f"the answer bears the id of the one to request {first} ({reply.request_id[:80]!a}): not taken"
        return Failure(FailureKind.BAD_REPLY, text, Billing.UNKNOWN, reply.status, request_id=reply.request_id)

    def _is_no_id(self, provider: str, same_answer: bool) -> bool:
        reused = self._reused.get(provider, 0) + (not same_answer)
        self._reused[provider] = reused
        return reused > NO_IDS
