"""Refusals: replies that are no answer, classified by the provider's table and by what the body says."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import msgspec

from batchrunner.core.attempt import Billing, Failure, FailureKind
from batchrunner.core.http import HttpReply
from batchrunner.core.retryafter import retry_after
from batchrunner.endpoints.answers import UNREADABLE, load, name_of, request_id
from batchrunner.endpoints.base import Classifier
from batchrunner.endpoints.quirks import Quirks
from batchrunner.endpoints.redact import MOST_MESSAGE, kept_body, kept_message
from batchrunner.endpoints.usage import NOT_COUNTED, Counted, generated

SEARCHED = 4000
"""Characters of a message in which patterns are looked for."""

_CONTEXT = re.compile(
    r"maximum context length|maximum model length|max_new_tokens\W* must be|prompt is too long|input is too long"
    r"|must have less than \d+ tokens|exceeds? the (?:available|maximum) (?:context|sequence) (?:size|length)"
    r"|context[ _](?:length|window)[^.]{0,80}exceed|exceed[^.]{0,80}context[ _](?:length|window)",
    re.IGNORECASE,
)
_TRANSIENT = re.compile(r"all connection attempts failed", re.IGNORECASE)
"""Together's front could not reach its engine, and says so with a 400."""

_ADVICE = {
    FailureKind.AUTH: "Check the key, and that it is this provider's and may use it from here.",
    FailureKind.NO_CREDIT: "Add credit or raise the spending limit, then run again.",
    FailureKind.CONTEXT_LENGTH: "Shorten the input or lower max_tokens.",
    FailureKind.MODEL_UNAVAILABLE: "Either the model is not served here or the base URL is wrong: check both.",
    FailureKind.MISCONFIGURED: "This host does not speak the API as configured: check the base URL and the proxy.",
}


class Said(NamedTuple):
    """What a refused body says."""

    message: str
    codes: tuple[str, ...]
    """``code`` and ``type`` values in lower case."""
    is_json: bool
    counted: Counted
    id: Any
    model: Any


def classifier(quirks: Quirks) -> Classifier:
    """Return ``classify`` for one provider."""
    return partial(classify, quirks=quirks)


def classify(reply: HttpReply, quirks: Quirks) -> Failure:
    """Turn a reply that is no answer into a Failure. Never raises, whatever the bytes are.

    Refusals below 500 are not billed; from 500 on it is unknown; a refusal that tells its usage was billed.
    ``x-should-retry`` is obeyed both ways, but for 429: a rate limit says nothing of the row, which stays queued.
    """
    said = hear(reply.body)
    kind = _kind(reply.status, said, quirks)
    wish = reply.headers.get("x-should-retry")
    if wish is not None:
        kind = _wished(kind, wish)
    return Failure(
        kind,
        _message(reply, said, kind),
        _billing(reply.status, said),
        reply.status,
        kept_body(reply.body),
        None if 200 <= reply.status < 300 else retry_after(reply.headers, reply.received),
        said.counted.usage,
        said.counted.raw,
        name_of(said.model),
        request_id(said.id, reply.headers),
    )


def hear(body: bytes) -> Said:
    """Find what a refused body says, in the shapes of Together, OpenAI, vLLM, FastAPI, OpenRouter and plain proxies."""
    try:
        found = load(_BODY, body)
    except UNREADABLE:
        return Said(body[:SEARCHED].decode("utf-8", "replace"), (), False, NOT_COUNTED, None, None)
    error = found.error if isinstance(found.error, dict) else {}
    words = (error.get("message"), found.error, found.message, found.detail)
    message = next((text for word in words if (text := _text(word))), body[:SEARCHED].decode("utf-8", "replace"))
    codes = tuple(_codes(error, found))
    return Said(message, codes, True, generated(found.usage), found.id, found.model)


class _Body(msgspec.Struct, gc=False):
    error: Any = None
    error_type: Any = None
    message: Any = None
    detail: Any = None
    type: Any = None
    code: Any = None
    id: Any = None
    model: Any = None
    usage: msgspec.Raw = msgspec.Raw()


_BODY = msgspec.json.Decoder(_Body)


def _codes(error: dict[str, Any], body: _Body) -> Iterator[str]:
    for code in (error.get("code"), error.get("type"), error.get("error_type"), body.error_type, body.code, body.type):
        if isinstance(code, str) and code:
            yield code.lower()


def _text(word: Any) -> str:
    """Return a message, or the messages of FastAPI's list of problems, as one text; empty where there is none."""
    if isinstance(word, str):
        return word
    if not isinstance(word, list):
        return ""
    return "; ".join(_problem(item) for item in word if isinstance(item, dict) and isinstance(item.get("msg"), str))


def _problem(item: dict[str, Any]) -> str:
    where = item.get("loc")
    path = ".".join(str(part) for part in where if isinstance(part, str | int)) if isinstance(where, list) else ""
    return f"{path}: {item['msg']}" if path else str(item["msg"])


def _kind(status: int, said: Said, quirks: Quirks) -> FailureKind:
    if not 300 <= status < 600:
        return FailureKind.BAD_REPLY  # an answer of a kind that this API does not have
    if status < 400:
        return FailureKind.MISCONFIGURED
    for code in said.codes:
        if code in quirks.codes:
            return quirks.codes[code]
    if status in (400, 403, 413, 422) and _CONTEXT.search(said.message, 0, SEARCHED):
        return FailureKind.CONTEXT_LENGTH
    if status == 400 and _TRANSIENT.search(said.message, 0, SEARCHED):
        return FailureKind.SERVER_ERROR
    if status == 403 and not said.is_json:
        return FailureKind.AUTH  # a firewall's page, at whichever provider
    return quirks.statuses.get(status, FailureKind.INVALID_REQUEST if status < 500 else FailureKind.SERVER_ERROR)


_FINAL = frozenset(
    {
        FailureKind.INVALID_REQUEST,
        FailureKind.CONTEXT_LENGTH,
        FailureKind.CONTENT_FILTER,
        FailureKind.AUTH,
        FailureKind.MODEL_UNAVAILABLE,
    }
)
# Not OVERLOADED: in an outage it would fail rows, which nothing a server says may do.
_AGAIN = frozenset({FailureKind.SERVER_ERROR})


def _wished(kind: FailureKind, wish: str) -> FailureKind:
    """Return the kind that does what ``x-should-retry`` asks for (in exact lower case, as the SDKs read it)."""
    if wish == "true" and kind in _FINAL:
        return FailureKind.SERVER_ERROR
    if wish == "false" and kind in _AGAIN:
        return FailureKind.INVALID_REQUEST
    return kind


def _billing(status: int, said: Said) -> Billing:
    if said.counted.usage is not None:
        return Billing.BILLED
    return Billing.NOT_BILLED if 300 <= status < 500 else Billing.UNKNOWN


def _message(reply: HttpReply, said: Said, kind: FailureKind) -> str:
    advice = _ADVICE.get(kind, "")
    words = said.message if said.message.strip() else "an empty body"
    text = kept_message(f"HTTP {reply.status}: {words}", MOST_MESSAGE - len(advice) - 2)
    if not advice:
        return text
    return f"{text} {advice}" if text.endswith((".", "!", "?")) else f"{text}. {advice}"
