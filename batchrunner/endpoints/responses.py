"""OpenAI's responses."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from batchrunner.core.attachments import Attached, Composed, Wanted
from batchrunner.core.attempt import Outcome
from batchrunner.core.estimate import tokens
from batchrunner.core.flags import CUT_OFF, EMPTY, FILTERED, INCOMPLETE, REFUSED, TOOL_ARGUMENTS, Flags, flag
from batchrunner.core.http import HttpReply
from batchrunner.endpoints.answers import UNREADABLE, Answer, Form, Misshapen, load, read_answer
from batchrunner.endpoints.base import BadBody, Classifier, Facts
from batchrunner.endpoints.chat import IMAGE_TOKENS
from batchrunner.endpoints.chatfields import EFFORT
from batchrunner.endpoints.choices import problem_of_arguments
from batchrunner.endpoints.facts import Asked, Bound, decode, keys, refuse_repeats
from batchrunner.endpoints.parts import inlined, may_refer, references
from batchrunner.endpoints.redact import kept_message
from batchrunner.endpoints.rules import NAME, OBJECT, SWITCH, TEXT, Rule, either, fields, list_of, number, one_of, whole
from batchrunner.endpoints.usage import itemized


class _Body(Asked, gc=False, kw_only=True):
    input: msgspec.Raw
    instructions: msgspec.Raw = msgspec.Raw()
    tools: msgspec.Raw = msgspec.Raw()
    text: msgspec.Raw = msgspec.Raw()
    max_output_tokens: Bound | None = None
    stream: bool | None = None
    background: bool | None = None


class _Part(msgspec.Struct, gc=False):
    type: Any = None
    text: Any = None


class Item(msgspec.Struct, gc=False):
    """One item of what a response holds: a message, a call of a function, what was thought, and others."""

    type: Any = None
    name: Any = None
    arguments: Any = None
    content: list[_Part] | None = None

    def texts(self) -> Iterator[str]:
        """Yield what a message says."""
        for part in self.content or ():
            if part.type == "output_text" and isinstance(part.text, str):
                yield part.text


class _Reason(msgspec.Struct, gc=False):
    reason: Any = None


class Response(Answer, gc=False):
    """A response."""

    status: Any = None
    output: list[Item] | None = None
    incomplete_details: _Reason | None = None


_BODY = msgspec.json.Decoder(_Body)
RESPONSE = msgspec.json.Decoder(Response)
_WATCHED = keys("model", "input", "max_output_tokens", "stream", "background")
_DATA_URL = re.compile(rb'"data:[^"]{64,}"')
"""An image or a file within the input: its bytes are not text."""
_WHY = {"max_output_tokens": CUT_OFF, "content_filter": FILTERED}


def _judge(answer: Response) -> str:
    """Return how it ended: its status, or why it is incomplete. Raises Misshapen for what is none, or not finished."""
    if answer.output is None:
        raise Misshapen("it has no output")
    if answer.status == "incomplete":
        why = answer.incomplete_details.reason if answer.incomplete_details is not None else None
        return why if isinstance(why, str) else "incomplete"
    if answer.status == "failed":
        raise Misshapen("it failed", b'{"message":"The response failed, and does not say why."}')
    if answer.status != "completed":
        raise Misshapen(f"its status is {kept_message(repr(answer.status), 60)}, so it is not finished")
    return "completed"


def _flags(answer: Response) -> Flags:
    return tuple(dict.fromkeys(_odd(answer)))


def _odd(answer: Response) -> Iterator[str]:
    items = answer.output or ()
    if answer.status == "incomplete":
        why = answer.incomplete_details.reason if answer.incomplete_details is not None else None
        yield _WHY.get(str(why)) or (flag(INCOMPLETE, kept_message(why, 60)) if isinstance(why, str) else INCOMPLETE)
    calls = [item for item in items if item.type == "function_call"]
    refused = any(part.type == "refusal" for item in items for part in item.content or ())
    if refused:
        yield REFUSED
    elif answer.status == "completed" and not any(_says(item) for item in items):
        yield EMPTY
    for place, call in enumerate(calls):
        problem = problem_of_arguments(call.arguments)
        if problem is not None:
            yield flag(TOOL_ARGUMENTS, kept_message(f"call {place} ({call.name}): {problem}", 200))


def _says(item: Item) -> bool:
    """Whether an item is of use: a text, or a call of a tool, whichever there are; what was thought is none."""
    if item.type == "message":
        return any(text.strip() for text in item.texts())
    return bool(item.type != "reasoning")


_FORM = Form("a response", RESPONSE, _judge, partial(itemized, generates=True), _flags)

_RULES: Final[Mapping[str, Rule]] = {
    "model": NAME,
    "input": either(TEXT, list_of(OBJECT)),
    "instructions": TEXT,
    "max_output_tokens": whole(16),
    "max_tool_calls": whole(1),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "top_logprobs": whole(0, 20),
    "tools": list_of(fields({"type": NAME}, "type")),
    "tool_choice": either(one_of("none", "auto", "required"), OBJECT),
    "parallel_tool_calls": SWITCH,
    "text": fields({"format": fields({"type": one_of("text", "json_object", "json_schema")}, "type")}),
    "reasoning": fields({"effort": EFFORT}),
    "truncation": one_of("auto", "disabled"),
    "store": SWITCH,
    "stream": SWITCH,
    "background": SWITCH,
    "metadata": OBJECT,
    "include": list_of(TEXT),
    "previous_response_id": TEXT,
    "conversation": either(TEXT, OBJECT),
    "prompt": OBJECT,
    "user": TEXT,
    "safety_identifier": TEXT,
    "prompt_cache_key": TEXT,
    "prompt_cache_retention": TEXT,
    "service_tier": TEXT,
}


class Responses:
    """OpenAI's responses, as OpenAI and vLLM speak them."""

    path = "/v1/responses"
    name = "responses"
    streams = False
    rules = _RULES

    def inspect(self, body: bytes) -> Facts:
        """Check model and input (a text, or a list of items); raises BadBody.

        The input is estimated from its bytes, those of the instructions, the tools and the format; what an earlier
        response or a conversation brings along is the provider's to know.
        """
        asked = decode(_BODY, body)
        if asked.stream:
            raise BadBody('a response is not streamed here: remove "stream"', "stream")
        if asked.background:
            raise BadBody('a response in the background has to be fetched later: remove "background"', "background")
        refuse_repeats(body, _WATCHED)
        given = bytes(asked.input)
        if not given.startswith((b'"', b"[")) or given in (b'""', b"[]"):
            raise BadBody("`input` must be a string or a list that is not empty", "input")
        text, images = _DATA_URL.subn(b'""', given)
        more = sum(tokens(bytes(part)) for part in (asked.instructions, asked.tools, asked.text) if part)
        files = references(body, "input") if may_refer(body) else ()
        estimate = tokens(text) + IMAGE_TOKENS * images + more
        return Facts(asked.model, estimate, asked.max_output_tokens, files=files, composed=bool(files))

    def feed(self, body: bytes) -> None:
        """Return None: a response is not streamed here."""

    def wanted(self, body: bytes) -> tuple[Wanted, ...]:
        """Return the files that the parts of its input refer to."""
        return references(body, "input")

    def compose(self, body: bytes, files: Sequence[Attached]) -> Composed:
        """Return the body with its files as data URLs."""
        return Composed(inlined(body, files, "input"), "application/json")

    def read(self, reply: HttpReply, classify: Classifier) -> Outcome:
        """Parse an answer of any status. Never raises, whatever the bytes are.

        ``incomplete`` is a Reply: what there is was paid for, and a flag says why there is no more. ``failed`` is a
        Failure, classified by the error in it.
        """
        return read_answer(reply, classify, _FORM)

    def text(self, body: bytes) -> str | None:
        """Return what its messages say, joined by blank lines."""
        try:
            items = load(RESPONSE, body).output or ()
        except UNREADABLE:
            return None
        said = ["".join(item.texts()) for item in items if item.type == "message"]
        return "\n\n".join(said) if said else None
