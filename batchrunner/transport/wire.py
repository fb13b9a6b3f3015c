"""What an engine tells of a call: how far it got, if its answer is all here, and faults that httpx has no name for."""

import httpx


class Outgoing(httpx.ByteStream):
    """The body of a call on its way out, and whether it may have reached anybody.

    ``sent`` is True unless the engine knows better: one that can tell sets it to False when it takes the call and to
    True when the first byte is handed to the network. So an engine that can't tell never makes a call look unpaid.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data
        self.sent = True


class Whole(httpx.ByteStream):
    """The body of an answer that came at once: there is nothing to wait for and nothing to close."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class StaleConnection(httpx.RemoteProtocolError):
    """The server had closed this kept-alive connection when we wrote to it (RFC 9112 9.3.1): not processed."""


class MalformedReply(httpx.RemoteProtocolError):
    """The answer's head is not HTTP."""
