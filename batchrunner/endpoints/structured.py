"""Structured answers: what form a request asked for, whether its answer has it, and how to ask again."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from batchrunner.core.flags import EMPTY, NOT_JSON, flag
from batchrunner.endpoints.answers import UNREADABLE, load
from batchrunner.endpoints.facts import MOST_TOKENS
from batchrunner.endpoints.patch import patch
from batchrunner.endpoints.reasoning import apart
from batchrunner.endpoints.redact import kept_message
from batchrunner.endpoints.responses import RESPONSE
from batchrunner.endpoints.schemas import Schemas

MARK: Final = b'"json_'
"""In every body that asks for JSON (``"json_object"``, ``"json_schema"``), so that all others are passed over fast."""
_BOUNDS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_ASKING: Final = (
    "That answer can't be used: {why}. Answer the question again, with nothing but JSON that is valid"
    " against the schema you were given."
)


class Wanted(NamedTuple):
    """The form that an answer must have: JSON, and valid against the schema where there is one."""

    schema: bytes | None


class Structured(Protocol):
    """What one endpoint's requests say of the form of their answers."""

    def wanted(self, body: bytes) -> Wanted | None:
        """Return the form that a body asks for; None: none that can be checked."""

    def texts(self, answer: bytes) -> list[str]:
        """Return the texts that must have it: none where the model called a tool instead. May raise ``UNREADABLE``."""

    def again(self, body: bytes, said: str, why: str) -> bytes:
        """Return the body with what was said appended, and why it is not good enough; all else byte for byte."""


class _Schema(msgspec.Struct, gc=False):
    schema: msgspec.Raw = msgspec.Raw()


class Format(msgspec.Struct, gc=False):
    """``response_format`` of chat (``text.format`` of responses has the schema beside the type), in both spellings."""

    type: Any = None
    json_schema: _Schema | None = None
    schema: msgspec.Raw = msgspec.Raw()

    def wanted(self) -> Wanted | None:
        """Return the form."""
        if self.type not in ("json_object", "json_schema"):
            return None
        schema = self.json_schema.schema if self.json_schema is not None else msgspec.Raw()
        found = bytes(schema) or bytes(self.schema)
        return Wanted(found if found not in (b"", b"null") else None)


class _ChatBody(msgspec.Struct, gc=False):
    messages: msgspec.Raw
    response_format: Format | None = None


class _ChatMessage(msgspec.Struct, gc=False):
    content: Any = None
    tool_calls: Any = None
    function_call: Any = None


class _ChatChoice(msgspec.Struct, gc=False):
    message: _ChatMessage | None = None


class _ChatAnswer(msgspec.Struct, gc=False):
    choices: list[_ChatChoice]


_CHAT_BODY = msgspec.json.Decoder(_ChatBody)
_CHAT_ANSWER = msgspec.json.Decoder(_ChatAnswer)
_VALUE = msgspec.json.Decoder(Any)
_INTEGERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ChatForms:
    """Chat's ``response_format``."""

    def wanted(self, body: bytes) -> Wanted | None:
        """Return the form that a body asks for."""
        try:
            asked = _CHAT_BODY.decode(body).response_format
        except UNREADABLE:
            return None
        return None if asked is None else asked.wanted()

    def texts(self, answer: bytes) -> list[str]:
        """Return the texts of all choices that called no tool, without their reasoning."""
        messages = [choice.message for choice in load(_CHAT_ANSWER, answer).choices]
        return [_said(message) for message in messages if message is not None and not _calls(message)]

    def again(self, body: bytes, said: str, why: str) -> bytes:
        """Append the answer as the assistant's, and what is wrong with it as the user's message."""
        messages = bytes(_CHAT_BODY.decode(body).messages)
        return patch(body, None, (("messages", appended(messages, said, why)),))


CHAT_FORMS = ChatForms()


def appended(messages: bytes, said: str, why: str) -> bytes:
    """Return a list of messages (JSON) with an exchange at its end: the answer, and what is wrong with it."""
    exchange = [{"role": "assistant", "content": said}, {"role": "user", "content": _ASKING.format(why=why)}]
    return b"%b,%b" % (messages.rstrip()[:-1].rstrip(), msgspec.json.encode(exchange)[1:])


def _calls(message: _ChatMessage) -> bool:
    return bool(message.tool_calls or message.function_call)


def _said(message: _ChatMessage) -> str:
    content = message.content
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    return apart(content).answer if isinstance(content, str) else ""


class Fault(NamedTuple):
    """What is wrong with the form of an answer."""

    flag: str
    said: str
    """The text at fault."""


def fault(forms: Structured, body: bytes, answer: bytes, schemas: Schemas | None) -> Fault | None:
    """Return what is wrong with an answer by its own request's wishes; None: nothing, or nothing that was asked for.

    Without ``schemas`` it is only looked at for being JSON.
    """
    wanted = forms.wanted(body)
    if wanted is None:
        return None
    try:
        texts = forms.texts(answer)
    except UNREADABLE:
        return None
    for text in texts:
        found = _flag(text, wanted.schema, schemas)
        if found is not None:
            return Fault(found, text)
    return None


def _flag(text: str, schema: bytes | None, schemas: Schemas | None) -> str | None:
    if not text.strip():
        return EMPTY
    try:
        value = _VALUE.decode(text.encode("utf-8", "replace"))
    except UNREADABLE as problem:
        return flag(NOT_JSON, kept_message(f"the answer is not JSON ({problem})", 300))
    if schema is None or schemas is None:
        return None
    return schemas.problem(schema, value, 1 + sum(map(text.count, ",[{")))


def raised(body: bytes, factor: float) -> bytes | None:
    """Return the body with its output bounds multiplied; None where it sets none, or none that can be raised."""
    values = _INTEGERS.decode(body)
    settings = []
    for name in _BOUNDS:
        text = bytes(values.get(name, b""))
        if text.isdigit() and 0 < int(text) < MOST_TOKENS:
            settings.append((name, b"%d" % min(MOST_TOKENS, -int(-int(text) * factor // 1))))
    return patch(body, None, settings) if settings else None


class _ResponsesText(msgspec.Struct, gc=False):
    format: Format | None = None


class _ResponsesBody(msgspec.Struct, gc=False):
    input: msgspec.Raw
    text: _ResponsesText | None = None


_RESPONSES_BODY = msgspec.json.Decoder(_ResponsesBody)


class ResponsesForms:
    """OpenAI's ``text.format``, which has the schema beside the type."""

    def wanted(self, body: bytes) -> Wanted | None:
        """Return the form that a body asks for."""
        try:
            asked = _RESPONSES_BODY.decode(body).text
        except UNREADABLE:
            return None
        return None if asked is None or asked.format is None else asked.format.wanted()

    def texts(self, answer: bytes) -> list[str]:
        """Return what the messages say, unless tools are called."""
        items = load(RESPONSE, answer).output or ()
        if any(item.type not in ("message", "reasoning") for item in items):
            return []
        return ["".join(item.texts()) for item in items if item.type == "message"]

    def again(self, body: bytes, said: str, why: str) -> bytes:
        """Append the answer as the assistant's, and what is wrong with it as the user's message."""
        given = bytes(_RESPONSES_BODY.decode(body).input)
        if given.startswith(b'"'):
            given = b'[{"role":"user","content":%b}]' % given
        return patch(body, None, (("input", appended(given, said, why)),))


FORMS: Mapping[str, Structured] = MappingProxyType(
    {"/v1/chat/completions": CHAT_FORMS, "/v1/responses": ResponsesForms()}
)
"""By the endpoint's path; what is not in here has no form that can be asked for."""
