"""A streamed answer on its way: how long it may be silent, when its first token came, what is left where it breaks."""

from collections.abc import AsyncIterable, Callable, Mapping

import anyio

from batchrunner.core.attempt import Failure
from batchrunner.core.clock import Clock
from batchrunner.core.http import BadStream, Feed, HttpReply
from batchrunner.transport.deadlines import Deadlines
from batchrunner.transport.failures import silence_failure, too_large, unreadable_failure

IDLE_SECONDS = 60.0
"""Silence between two pieces of a stream, once its first token has come, after which it is given up."""
FIRST_TIMES = 5
"""How much longer it may be silent before: a model that thinks unseen sends nothing, or an empty first event."""
LINGER_SECONDS = 2.0
"""For a server to close what it has said to be ended; then the answer is taken as it is."""
ENVELOPE = 16
"""Times the cap on an answer that a stream may have on the wire: each token comes in an envelope of its own."""


class Watch:
    """Ends a call at its deadline, and before it where nothing comes for as long as is waited for."""

    def __init__(self, deadlines: Deadlines, scope: anyio.CancelScope, deadline: float, idle: float) -> None:
        self._deadlines = deadlines
        self._scope = scope
        self._end = anyio.current_time() + deadline
        self._until = self._end
        self.idle = idle
        self.patience = FIRST_TIMES * idle
        """Seconds of silence that are put up with now."""
        self.beat()

    def beat(self) -> None:
        """Note a sign of life."""
        self._until = min(self._end, anyio.current_time() + self.patience)
        self._deadlines.watch(self._scope, self._until)

    @property
    def was_silence(self) -> bool:
        """Whether, if it has ended the call, silence was the reason."""
        return self._until < self._end


class Live:
    """Follows one streamed answer.

    ``redact`` cuts the key out of the body of an answer with a status; ``most`` are the bytes of the answer, put
    together, at which it is given up.
    """

    def __init__(
        self, feed: Feed, watch: Watch, clock: Clock, *, host: str, redact: Callable[[int, bytes], bytes], most: int
    ) -> None:
        self._feed = feed
        self._watch = watch
        self._clock = clock
        self._host = host
        self._redact = redact
        self._most = most
        self._started = clock.monotonic()
        self._ttft: float | None = None
        self.head: tuple[Mapping[str, str], float] | None = None
        """Headers and seconds to them, once they have come with status 200."""

    async def follow(self, stream: AsyncIterable[bytes]) -> HttpReply | Failure:
        """Read to the end; return the whole, or what is wrong with it and what had come."""
        try:
            if await self._read(stream):
                return self._whole()
            return self._with_part(too_large(self._host, 200, self._most))
        except BadStream as problem:
            return self._with_part(unreadable_failure(self._host, self._safe(f"{problem}")))

    def broken(self, failure: Failure) -> HttpReply | Failure:
        """Return what a stream that broke off had brought: a whole answer all the same, or the failure with a part."""
        return self._whole() if self.head is not None and self._feed.settled else self._with_part(failure)

    def silent(self) -> Failure | None:
        """Say that the call was ended for its silence; None where it was not."""
        if not self._watch.was_silence:
            return None
        return silence_failure(self._host, self._watch.patience, begun=self._feed.begun)

    async def _read(self, stream: AsyncIterable[bytes]) -> bool:
        """Read to the end, or to the cap, and then return False. Raises BadStream.

        Every piece counts as a sign of life, a comment too: what only comments stretch is ended by the deadline.
        """
        feed, watch, came = self._feed, self._watch, 0
        async for piece in stream:
            came += len(piece)
            feed.take(piece)
            if self._ttft is None and feed.begun:
                self._ttft = self._clock.monotonic() - self._started
                watch.patience = watch.idle
            if feed.size > self._most or came > ENVELOPE * self._most:
                return False
            if feed.ended:
                watch.patience = LINGER_SECONDS
            watch.beat()
        return True

    def _whole(self) -> HttpReply | Failure:
        headers, ttfb = self.head or ({}, 0.0)
        body = self._feed.whole()
        if len(body) > self._most:
            return self._with_part(too_large(self._host, 200, self._most))
        return HttpReply(200, headers, self._redact(200, body), self._clock.now(), ttfb, self._ttft)

    def _with_part(self, failure: Failure) -> Failure:
        if not self._feed.begun:
            return failure
        return failure._replace(partial=self._redact(200, self._feed.whole())[: self._most])

    def _safe(self, text: str) -> str:
        return self._redact(500, text.encode()).decode()
