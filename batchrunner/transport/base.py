"""The seam of the transport."""

from types import TracebackType
from typing import Protocol, Self

from batchrunner.core.attempt import Failure
from batchrunner.core.http import Feed, Fetch, Fetched, HttpCall, HttpReply, Sink


class Transport(Protocol):
    """Sends calls to one provider's host, with its key. Used inside ``async with``."""

    async def send(self, call: HttpCall, feed: Feed | None = None) -> HttpReply | Failure:
        """Send a call and bring back a complete answer of any status, or a Failure that says whether it was sent.

        A good answer goes through ``feed``, piece by piece, and comes back as the whole that it makes of it. Ends
        within the call's deadline. Raises nothing but cancellation.
        """
        ...

    async def fetch(self, fetch: Fetch, sink: Sink) -> Fetched | Failure:
        """Download a file without the key, in pieces into ``sink``; whole if Fetched comes back.

        Nothing is downloaded from this machine (unless the provider is on it) or a private network. Ends within its
        deadline. Raises cancellation, and what the sink raises.
        """
        ...

    def interrupt(self) -> None:
        """End every call in flight now: each brings a Failure of kind ``interrupted``, possibly billed if sent."""
        ...

    def drop(self) -> None:
        """End every call in flight now, as ``interrupt`` does; calls that come after go out on new connections."""
        ...

    async def __aenter__(self) -> Self:
        """Start what watches the deadlines."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Close all connections."""
        ...
