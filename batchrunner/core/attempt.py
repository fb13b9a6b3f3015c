"""The attempt, our word for one purchase, and what a call can bring: a reply or a failure."""

from enum import StrEnum
from typing import NamedTuple

from batchrunner.core.continuation import Continuation
from batchrunner.core.corpus import Vectors
from batchrunner.core.flags import Flags
from batchrunner.core.usage import Usage


class FailureKind(StrEnum):
    """Why a call brought no answer. The words are stored, exported and shown: never rename one."""

    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    STALE_CONNECTION = "stale_connection"
    """A kept-alive connection that the server had just closed when we wrote to it: not billed, tried again at once."""
    SERVER_ERROR = "server_error"
    BAD_REPLY = "bad_reply"
    RESPONSE_TOO_LARGE = "response_too_large"
    INVALID_REQUEST = "invalid_request"
    CONTEXT_LENGTH = "context_length"
    ATTACHMENT = "attachment"
    """A local file that the body refers to is missing, or may not be sent: nothing was."""
    CONTENT_FILTER = "content_filter"
    AUTH = "auth"
    NO_CREDIT = "no_credit"
    MODEL_UNAVAILABLE = "model_unavailable"
    MISCONFIGURED = "misconfigured"
    """The host does not speak this API as configured: a redirect, a certificate that does not verify, a proxy's 407."""
    LOST = "lost"
    """The attempt was open when its runner died: it may have been billed, and nobody can know."""
    EXPIRED = "expired"
    """The purchase went through, and what was bought can't be had any more: its address or its job is gone."""
    INTERRUPTED = "interrupted"
    """We cancelled the call ourselves, because a person stopped the run a second time."""


class Billing(StrEnum):
    """Whether the provider charged for an attempt, as far as anyone can tell from here."""

    BILLED = "billed"
    NOT_BILLED = "not_billed"
    UNKNOWN = "unknown"


class Use(StrEnum):
    """What became of a paid answer."""

    USED = "used"
    WASTED = "wasted"


class Reply(NamedTuple):
    """A complete, parsed answer that has the shape of its endpoint."""

    status: int
    body: bytes
    usage: Usage | None
    """None where the provider sent none, or sent something that can't be read: unknown, not zero."""
    usage_raw: bytes | None = None
    finish: str | None = None
    model: str | None = None
    """The model as the provider echoed it."""
    request_id: str | None = None
    """The provider's id of this request."""
    flags: Flags = ()
    """What is odd about it; see ``core.flags``."""
    vectors: Vectors | None = None
    """Set for a pack of a corpus, in the place of the body: vectors are never kept as text."""


class Failure(NamedTuple):
    """A call that brought no usable answer, and what is known of it."""

    kind: FailureKind
    message: str
    billing: Billing
    status: int | None = None
    body: bytes = b""
    retry_after: float | None = None
    """Seconds for which the provider asked us to stay away, from ``Retry-After`` in any of its spellings."""
    usage: Usage | None = None
    usage_raw: bytes | None = None
    model: str | None = None
    request_id: str | None = None
    partial: bytes | None = None
    """What had come of a streamed answer that broke off, as an ordinary answer; None: nothing, or nobody wants it."""


class Pending(NamedTuple):
    """A purchase that goes on later: its attempt stays open, its request waits in the queue."""

    continuation: Continuation
    not_before: int
    """Microseconds UTC at which the next step is due."""


Outcome = Reply | Failure
"""How an attempt ends; ``Pending`` is no end."""
