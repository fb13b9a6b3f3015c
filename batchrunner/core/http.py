"""One HTTP exchange as plain data: what an endpoint asks for and what the transport brings back."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol


class HttpCall(NamedTuple):
    """One call to the provider of the lane, before it is sent.

    The path is one of the registry's fixed paths and begins with its version (``/v1/``, ``/v2/``); the host, the key
    and the transport's own headers are added by the transport, never by an endpoint or a job file.
    """

    path: str
    body: bytes
    client_request_id: str
    """Sent as ``X-Client-Request-Id``: the attempt's id, so that both ledgers can be compared."""
    deadline: float
    """Seconds from the first byte sent to the last byte received; the transport ends the call then."""
    max_response: int = 32 * 1024 * 1024
    """Bytes of reply body at which the call is given up."""
    content_type: str = "application/json"
    method: str = "POST"
    """A ``GET`` asks for what was bought already: it costs nothing."""
    tail: str = ""
    """One more segment of the path, such as the id of a job; the transport refuses what could be more than that."""


class Fetch(NamedTuple):
    """A file to download from where a provider says it is: without the key, and never beyond what ``url`` may name."""

    url: str
    deadline: float
    """Seconds for all of it."""
    most: int
    """Bytes at which it is given up."""


class Fetched(NamedTuple):
    """A file that was downloaded whole into the sink."""

    content_type: str
    """As its host said."""
    size: int
    """Bytes."""


Sink = Callable[[bytes], object]
"""Takes a download in pieces. What it raises ends the download, and is raised by it."""


class HttpReply(NamedTuple):
    """A complete answer of any status. Headers are looked up in lower case; of a repeated one the first counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    received: int
    """Wall clock at the last byte, microseconds UTC: dates in headers are read against it."""
    ttfb: float = 0.0
    """Seconds from the start of the call to the status line."""
    ttft: float | None = None
    """Seconds from the start of the call to the first token of a streamed answer; None: it was not streamed."""


class BadStream(Exception):  # noqa: N818 - a finding, always caught and told as a Failure
    """A streamed answer that can't be read on. Its text says why, redacted."""


class Feed(Protocol):
    """Makes an ordinary answer of one that comes in pieces. It does no I/O: who reads the pieces hands them over."""

    @property
    def begun(self) -> bool:
        """Whether anything of the answer itself has come: a comment, or an event without a word, is none of it."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the provider said that this was all."""
        ...

    @property
    def settled(self) -> bool:
        """Whether what has come is a whole answer, or an error, so that it does not matter how the connection ends."""
        ...

    @property
    def size(self) -> int:
        """Bytes that are held."""
        ...

    def take(self, piece: bytes) -> None:
        """Take the next bytes of the body, cut wherever it pleased the network. Raises BadStream."""
        ...

    def whole(self) -> bytes:
        """Return the body of the ordinary answer, as far as it has come.

        A body that is no stream comes back as it is: some servers ignore that one was asked for.
        """
        ...
