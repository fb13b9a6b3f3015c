"""The seam of the wire formats."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from batchrunner.core.attachments import Attached, Composed, Wanted
from batchrunner.core.attempt import Failure, Outcome, Pending, Reply
from batchrunner.core.continuation import Artifact, Continuation
from batchrunner.core.http import Feed, HttpCall, HttpReply
from batchrunner.core.usage import Usage
from batchrunner.endpoints.rules import Rule


class BadBody(Exception):  # noqa: N818 - it describes the body, and is always caught and reported as a Problem
    """A request body that this endpoint can't take. ``field`` names the key at fault, for the column."""

    def __init__(self, reason: str, field: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.field = field


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What the queue must know of a body without reading it again."""

    model: str
    est_in: int
    """Estimated input tokens, uncalibrated."""
    max_out: int | None
    """Output tokens the body allows (times ``n`` where it asks for several); None: no bound; 0: generates nothing."""
    units: Usage | None = None
    """What the body tells of other units, as functions of ``endpoints.units`` count them; None: nothing."""
    files: tuple[Wanted, ...] = ()
    """The local files that it refers to."""
    composed: bool = False
    """Whether what is sent is made of the body at send time (``Composing``), and is not the body itself."""


class Endpoint(Protocol):
    """One wire format at one path."""

    path: str
    """Such as ``/v1/chat/completions``."""
    name: str
    """Such as ``chat``."""
    streams: bool
    """Whether its answers can come as streams."""
    rules: Mapping[str, Rule]
    """What the fields of its bodies must be for providers to take them, as ``check`` looks at them."""

    def inspect(self, body: bytes) -> Facts:
        """Check a body's required fields and types and return its facts.

        Raises BadBody. The body is known to be valid strict UTF-8 JSON of bounded depth with an object at the top.
        """
        ...

    def feed(self, body: bytes) -> Feed | None:
        """Return what puts the streamed answer together that a body asks for; None where it asks for none.

        It is asked for every call: a body that says nothing of streams must cost no more than a look.
        """
        ...

    def read(self, reply: HttpReply, classify: "Classifier") -> Outcome | Pending:
        """Parse an answer of any status. Never raises, whatever the bytes are.

        Pending: it is paid for, or will be, and is not whole yet. Only the protocols below bring it.
        """
        ...

    def text(self, body: bytes) -> str | None:
        """Return the answer's text, for people and CSV; None where the format has none."""
        ...


class Composing(Endpoint, Protocol):
    """An endpoint whose bodies may refer to local files, or go out in another form than JSON."""

    def wanted(self, body: bytes) -> tuple[Wanted, ...]:
        """Return the files that a body refers to; it was inspected before."""
        ...

    def compose(self, body: bytes, files: Sequence[Attached]) -> Composed:
        """Return what is sent for a body and its files, which come in the order of ``wanted``.

        The same body and files give the same bytes.
        """
        ...


class Part(NamedTuple):
    """One file of an answer: where it is in it, and how to get at it."""

    place: str
    """Such as ``data[0]``; ``body`` for all of the answer."""
    name: str
    """What a person might call it, without a suffix."""
    most: int
    """Bytes of it that are taken at most."""
    url: str | None = None
    """Where it is; None: it came with the answer."""
    data: Callable[[], bytes] | None = None
    """Makes its bytes. Raises ValueError where they are not what they should be."""


class BringsFiles(Endpoint, Protocol):
    """An endpoint whose answers are, hold or name files; ``read`` returns Pending with step ``fetch``.

    All of it is pure and takes continuations that its own ``read`` or ``go_on`` made.
    """

    def parts(self, continuation: Continuation) -> tuple[Part, ...]:
        """Return the files of a whole answer, in its order; at least one."""
        ...

    def whole(self, continuation: Continuation, artifacts: tuple[Artifact, ...]) -> Reply:
        """Return the reply once its files are kept, one for each part.

        Its body is the answer byte for byte, but for what is in the files now: that is not stored twice. Its usage is
        what the answer tells, in every unit.
        """
        ...


class Polled(BringsFiles, Protocol):
    """An endpoint whose purchase makes a job at the provider, which is asked for until it ends."""

    def resume(self, continuation: Continuation) -> HttpCall:
        """Return the call that asks how the job is doing. It costs nothing; its id is added by who sends it."""
        ...

    def go_on(self, continuation: Continuation, reply: HttpReply, classify: "Classifier") -> Pending | Failure:
        """Read what the provider says of the job. Never raises, whatever the bytes are.

        A Failure of kind ``bad_reply``, or of another status than 200, is one of the question; any other is the job's.
        """
        ...


Classifier = Callable[[HttpReply], Failure]
"""Turns a refusal (any reply that is not this endpoint's answer) into a Failure, by the provider's own table."""
