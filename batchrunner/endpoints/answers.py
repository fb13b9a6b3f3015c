"""What all answers have in common, and the one way in which an ``HttpReply`` becomes an outcome.

A 200 is not a result: only a body that parses, has its endpoint's shape and (where the format has one) a finish reason
is. Everything else becomes a Failure, with the usage that the body tells of, since that was paid for.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from batchrunner.core.attempt import Billing, Failure, FailureKind, Outcome, Reply
from batchrunner.core.flags import Flags
from batchrunner.core.http import HttpReply
from batchrunner.endpoints.base import Classifier
from batchrunner.endpoints.redact import kept_body, kept_message, redact
from batchrunner.endpoints.usage import Counted

MOST_NAME = 256
"""Characters of an id or a model name that a provider sends; longer ones are noise and are not kept."""
SHOWN = 200
"""Bytes of an unusable body that its message shows."""

UNREADABLE = (ValueError, RecursionError)
"""What decoding arbitrary bytes raises: msgspec's and Unicode's errors are ValueErrors."""


class Answer(msgspec.Struct, gc=False):
    """The keys that the answers of all endpoints share; none of them can be relied on."""

    id: Any = None
    model: Any = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class Misshapen(Exception):  # noqa: N818 - a finding, always caught here and told as a Failure
    """An answer that is none. ``error`` is the provider's own error object, where one lies inside the answer."""

    def __init__(self, reason: str, error: bytes | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.error = error


A = TypeVar("A", bound=Answer)
D = TypeVar("D")


class Form(NamedTuple, Generic[A]):
    """How one endpoint's answers are read."""

    noun: str
    """Such as "a chat completion", for messages."""
    decoder: msgspec.json.Decoder[A]
    judge: Callable[[A], str | None]
    """Returns the finish reason, None where the format has none; raises Misshapen."""
    counted: Callable[[msgspec.Raw], Counted]
    flags: Callable[[A], Flags] | None = None
    """Returns what is odd about a good answer; None where nothing can be."""


def read_answer(reply: HttpReply, classify: Classifier, form: Form[A]) -> Outcome:
    """Parse an answer of any status. Never raises, whatever the bytes are."""
    if reply.status != 200:
        return classify(reply)
    try:
        answer = load(form.decoder, reply.body)
    except UNREADABLE as problem:
        return _unreadable(reply, classify, form, problem)
    if is_error(answer.error):
        return _refused(reply, classify, answer, form.counted(answer.usage), bytes(answer.error))
    counted = form.counted(answer.usage)
    try:
        finish = form.judge(answer)
    except Misshapen as problem:
        if problem.error is None:
            return _bad(reply, form, problem.reason, answer, counted)
        failure = _refused(reply, classify, answer, counted, problem.error)
        # It broke off while it was being written, so something may have been charged whatever its code says.
        return failure._replace(billing=Billing.UNKNOWN) if counted.usage is None else failure
    return Reply(
        200,
        reply.body,
        counted.usage,
        counted.raw,
        finish,
        name_of(answer.model),
        request_id(answer.id, reply.headers),
        () if form.flags is None else form.flags(answer),
    )


def load(decoder: msgspec.json.Decoder[D], body: bytes) -> D:
    """Decode a body strictly as UTF-8; raises ValueError or RecursionError.

    Lone surrogates in strings are let through (as U+FFFD): a model that is cut off within an emoji writes them, and
    the answer was paid for.
    """
    if not body.isascii():
        body.decode()  # the decoder skips over strings that nobody asks for without looking at their bytes
    try:
        return decoder.decode(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        mended = mend_surrogates(body)
        if mended == body:
            raise
        return decoder.decode(mended)


_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def mend_surrogates(body: bytes, put: Callable[[bytes], bytes] = lambda _: rb"\ufffd") -> bytes:
    r"""Return the JSON text with every escaped half of a surrogate pair (``\ud83d`` alone) replaced by ``\ufffd``.

    ``put`` may put something else in its place: it is given the half without its backslash.
    """
    if b"\\ud" not in body and b"\\uD" not in body:
        return body
    return _ESCAPE.sub(lambda escape: put(escape["lone"]) if escape["lone"] else escape[0], body)


_NO_ERROR = frozenset({b"", b"null", b"false", b'""', b"{}", b"[]"})


def is_error(error: msgspec.Raw) -> bool:
    """Whether an ``error`` key says that something went wrong; many providers send it empty beside good answers."""
    return bool(error) and bytes(error) not in _NO_ERROR


def request_id(sent: Any, headers: Mapping[str, str]) -> str | None:
    """Return the provider's id of a request: the body's own, else OpenAI's header, else the front's (Cloudflare)."""
    return name_of(sent) or name_of(headers.get("x-request-id")) or name_of(headers.get("cf-ray"))


def name_of(sent: Any) -> str | None:
    """Return an id or a name as it was sent, or None where it is none that can be kept."""
    return sent if type(sent) is str and 0 < len(sent) <= MOST_NAME else None


_ENVELOPE = msgspec.json.Decoder(Answer)
_ERROR = msgspec.json.Decoder(dict[str, Any])


def _unreadable(reply: HttpReply, classify: Classifier, form: Form[A], problem: Exception) -> Failure:
    """Read what can be read of a body that does not have the shape of an answer."""
    try:
        envelope = load(_ENVELOPE, reply.body)
    except UNREADABLE:
        return _bad(reply, form, _reason(reply.body, problem), Answer(), Counted(None, None))
    counted = form.counted(envelope.usage)
    if is_error(envelope.error):
        return _refused(reply, classify, envelope, counted, bytes(envelope.error))
    return _bad(reply, form, _reason(reply.body, problem), envelope, counted)


def _reason(body: bytes, problem: Exception) -> str:
    if not body.strip():
        return "it is empty"
    if isinstance(problem, RecursionError):
        return "it is nested too deeply"
    if isinstance(problem, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(problem, msgspec.ValidationError):
        return f"{problem}"
    return f"it is not JSON, or not all of it ({problem})"


def _bad(reply: HttpReply, form: Form[A], reason: str, answer: Answer, counted: Counted) -> Failure:
    kind = reply.headers.get("content-type", "no content type")
    start = reply.body[:SHOWN].decode("utf-8", "backslashreplace")
    shown = f" It begins: {start!r}" if start else ""
    return Failure(
        FailureKind.BAD_REPLY,
        kept_message(f"The answer (200, {kind}) is not {form.noun}: {reason}.{shown}"),
        Billing.UNKNOWN if counted.usage is None else Billing.BILLED,
        reply.status,
        kept_body(reply.body),
        None,
        counted.usage,
        counted.raw,
        _redacted(name_of(answer.model)),
        _redacted(request_id(answer.id, reply.headers)),
    )


def _refused(reply: HttpReply, classify: Classifier, answer: Answer, counted: Counted, error: bytes) -> Failure:
    """Classify an error that came with a 200 as if it had come with its own code, or with 500 where it has none."""
    failure = classify(reply._replace(status=_code(error), body=b'{"error":' + error + b"}"))
    return failure._replace(
        status=reply.status,
        body=kept_body(reply.body),
        billing=failure.billing if counted.usage is None else Billing.BILLED,
        usage=counted.usage,
        usage_raw=counted.raw,
        model=_redacted(name_of(answer.model)),
        request_id=_redacted(request_id(answer.id, reply.headers)),
    )


def _redacted(name: str | None) -> str | None:
    """Names are stored as messages are, and what says 200 and is no answer may put the key anywhere."""
    return None if name is None else redact(name)


def _code(error: bytes) -> int:
    try:
        code = _ERROR.decode(error).get("code")
    except UNREADABLE:
        return 500
    return code if type(code) is int and 400 <= code <= 599 else 500
