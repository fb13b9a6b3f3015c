"""Chat completions."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from batchrunner.core.attachments import Attached, Composed, Wanted
from batchrunner.core.attempt import Outcome
from batchrunner.core.estimate import tokens
from batchrunner.core.http import Feed, HttpReply
from batchrunner.endpoints.answers import UNREADABLE, Form, load, read_answer
from batchrunner.endpoints.base import Classifier, Facts
from batchrunner.endpoints.chatfields import CHAT
from batchrunner.endpoints.choices import Choices, flags, has_message, judge
from batchrunner.endpoints.facts import (
    Bound,
    Generation,
    Text,
    bound,
    decode,
    keys,
    larger,
    may_stream,
    refuse_repeats,
)
from batchrunner.endpoints.parts import inlined, may_refer, references
from batchrunner.endpoints.streams import chat_stream
from batchrunner.endpoints.usage import generated

MESSAGE_TOKENS = 4
"""What a chat template adds around each message, about."""
IMAGE_TOKENS = 6404
"""The most that one image costs on Llama's vision models by Together's formula: 2 x 2 tiles of 1,601 tokens."""


class _Message(msgspec.Struct, gc=False):
    role: Text


class _Body(Generation, gc=False, kw_only=True):
    messages: msgspec.Raw
    max_completion_tokens: Bound | None = None
    tools: msgspec.Raw = msgspec.Raw()
    functions: msgspec.Raw = msgspec.Raw()
    response_format: msgspec.Raw = msgspec.Raw()


class _Part(msgspec.Struct, gc=False):
    image_url: msgspec.Raw = msgspec.Raw()


class _Parts(msgspec.Struct, gc=False):
    content: list[_Part | str] | str | None = None


class _Said(msgspec.Struct, gc=False):
    content: Any = None
    refusal: Any = None


class _Choice(msgspec.Struct, gc=False):
    message: _Said | None = None
    text: Any = None


class _Choices(msgspec.Struct, gc=False):
    choices: list[_Choice]


_BODY = msgspec.json.Decoder(_Body)
_GENERATION = msgspec.json.Decoder(Generation)
_MESSAGES = msgspec.json.Decoder(Annotated[list[_Message], msgspec.Meta(min_length=1)])
_PARTS = msgspec.json.Decoder(list[_Parts])
_SAID = msgspec.json.Decoder(_Choices)
_WATCHED = keys("model", "messages", "n", "max_tokens", "max_completion_tokens", "stream", "stream_tokens")
_SHORT = 16
"""Bytes of an image's place below which it is left in the text: it might occur there by chance."""


def _judge(answer: Choices) -> str:
    return judge(answer, has_message)


_FORM = Form("a chat completion", msgspec.json.Decoder(Choices), _judge, generated, flags)


class Chat:
    """Chat completions as Together, OpenAI and vLLM speak them."""

    path = "/v1/chat/completions"
    name = "chat"
    streams = True
    rules = CHAT

    def inspect(self, body: bytes) -> Facts:
        """Check model, messages and their roles; raises BadBody.

        The input is estimated from the bytes of the messages and of what else becomes part of the prompt (tools,
        functions, a response schema). The output bound is the larger of ``max_tokens`` and ``max_completion_tokens``
        (providers differ in which one counts) times ``n``.
        """
        asked = decode(_BODY, body)
        refuse_repeats(body, _WATCHED)
        messages = decode(_MESSAGES, asked.messages, "messages")
        estimate = _said(asked.messages) + MESSAGE_TOKENS * len(messages)
        if asked.tools or asked.functions or asked.response_format:
            estimate += sum(tokens(bytes(more)) for more in (asked.tools, asked.functions, asked.response_format))
        most = larger(asked.max_tokens, asked.max_completion_tokens)
        if may_refer(body) and (files := references(body)):
            return Facts(asked.model, estimate, bound(most, asked.n or 1), files=files, composed=True)
        return Facts(asked.model, estimate, bound(most, asked.n or 1))

    def feed(self, body: bytes) -> Feed | None:
        """Return what puts a streamed answer together; None where the body asks for none."""
        if not may_stream(body):
            return None
        asked = _GENERATION.decode(body)
        return chat_stream(asked.n or 1) if asked.streams else None

    def wanted(self, body: bytes) -> tuple[Wanted, ...]:
        """Return the files that the parts of its messages refer to."""
        return references(body)

    def compose(self, body: bytes, files: Sequence[Attached]) -> Composed:
        """Return the body with its files as data URLs, sounds of ``input_audio`` as bare base64."""
        return Composed(inlined(body, files), "application/json")

    def read(self, reply: HttpReply, classify: Classifier) -> Outcome:
        """Parse an answer of any status. Never raises, whatever the bytes are.

        An answer that a filter withheld (``content_filter``, with no content) is a Reply: the provider generated and
        charged it, and asking again would only pay again.
        """
        return read_answer(reply, classify, _FORM)

    def text(self, body: bytes) -> str | None:
        """Return what was said, or the reason it was refused for; several choices are joined by blank lines."""
        try:
            choices = load(_SAID, body).choices
        except UNREADABLE:
            return None
        said = [text for choice in choices if (text := _text(choice)) is not None]
        return "\n\n".join(said) if said else None


def _said(messages: msgspec.Raw) -> int:
    """Estimate the tokens of the messages; the bytes of images are not text and count as the most an image costs."""
    value = bytes(messages)
    if b'"image_url"' not in value:
        return tokens(value)
    try:
        parts = [
            part for message in _PARTS.decode(messages) if type(message.content) is list for part in message.content
        ]
    except msgspec.DecodeError:
        return tokens(value)  # parts of a kind we don't know: their bytes are more than they can cost
    images = [bytes(part.image_url) for part in parts if isinstance(part, _Part) and part.image_url]
    for image in images:
        if len(image) > _SHORT:
            value = value.replace(image, b"")
    return tokens(value) + IMAGE_TOKENS * len(images)


def _text(choice: _Choice) -> str | None:
    if choice.message is None:
        return choice.text if isinstance(choice.text, str) else None
    content = choice.message.content
    if isinstance(content, list):
        parts = [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
        return "".join(parts) if parts else None
    if isinstance(content, str):
        return content
    return choice.message.refusal if isinstance(choice.message.refusal, str) else None
