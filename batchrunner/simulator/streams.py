"""Good answers as server-sent events, as each flavour sends them. Pure: made of the answer that would go out whole.

Together's usage stands beside the finish reason, which comes twice; OpenAI's comes in an event of its own, without
choices, if `stream_options.include_usage` asks for it. Both end with `[DONE]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from batchrunner.simulator.calls import Call
from batchrunner.simulator.settings import Flavour
from batchrunner.simulator.text import BYTES_PER_TOKEN

CONTENT_TYPE: Final = "text/event-stream;charset=utf-8"
DONE: Final = b"data: [DONE]\n\n"
COMMENT: Final = b": still here\n\n"

_ERROR: Final = {"message": "The engine died in the middle of the answer.", "type": "server_error", "code": None}
_NO_USAGE: Final = object()
_OBFUSCATION: Final = "aB3xQ9zK"


def events(answer: dict[str, Any], call: Call, flavour: Flavour, fault: str | None) -> tuple[bytes, ...]:
    """The events of a stream that says what `answer` says, its usage included, with what `fault` makes of them."""
    chunks = _together(answer, call) if flavour == "together" else _openai(answer, call)
    made = [b"data: %b\n\n" % msgspec.json.encode(chunk) for chunk in chunks]
    half = made[: max(1, len(made) // 2)]
    if fault == "stream_error":
        error = {"error": {**_ERROR, "param": None}}
        return (*half, b"data: %b\n\n" % msgspec.json.encode(error), DONE)
    if fault == "stream_cut":
        return tuple(half)
    if fault == "stream_comments":
        made = [part for event in made for part in (COMMENT, event)]
    return (*made, DONE)


def tells_usage(call: Call, flavour: Flavour) -> bool:
    """Whether a stream ends with its usage."""
    return flavour == "together" or bool(_options(call).get("include_usage"))


def _options(call: Call) -> dict[str, Any]:
    options = call.body.get("stream_options")
    return options if isinstance(options, dict) else {}


def _head(answer: dict[str, Any], kind: str) -> dict[str, Any]:
    kept = ("id", "created", "model", "system_fingerprint")
    return {"object": kind, **{key: answer[key] for key in kept if key in answer}}


def _together(answer: dict[str, Any], call: Call) -> Iterator[dict[str, Any]]:
    usage = answer.get("usage", _NO_USAGE)
    chat = call.endpoint == "chat"
    head = _head(answer, "chat.completion.chunk" if chat else "completion.chunk")
    choices = answer["choices"]
    for choice in choices:
        last = choice is choices[-1]
        for delta in _deltas(choice, chat):
            yield _together_chunk(head, choice, delta, None, chat) | {"usage": None}
        finish = choice.get("finish_reason")
        if chat and finish is not None:
            yield _together_chunk(head, choice, {"content": ""}, finish, chat) | {"usage": None}
        told = {} if usage is _NO_USAGE else {"usage": usage if last else None}
        yield _together_chunk(head, choice, {"content": ""}, finish, chat) | told


def _together_chunk(
    head: dict[str, Any], choice: dict[str, Any], delta: dict[str, Any], finish: str | None, chat: bool
) -> dict[str, Any]:
    text = delta.get("content") or ""
    number = choice.get("seed", 0) % 128_000
    said = {"index": choice["index"], "text": text, "seed": choice.get("seed") if finish else None}
    whole = {"token_id": number, "role": "assistant", "content": text, **delta}
    if chat:
        return {**head, "choices": [{**said, "logprobs": None, "finish_reason": finish, "delta": whole}]}
    token = {"id": number, "text": text, "logprob": 0, "special": finish is not None}
    place = {"finish_reason": finish}
    if choice["index"]:  # what stands at the top speaks for the first choice only
        return {**head, "choices": [{**said, "delta": whole, **place}], "token": token}
    return {**head, "choices": [{**said, "delta": whole}], "token": token, **place}


def _openai(answer: dict[str, Any], call: Call) -> Iterator[dict[str, Any]]:
    chat = call.endpoint == "chat"
    head = _head(answer, "chat.completion.chunk" if chat else answer["object"])
    options = _options(call)
    more: dict[str, Any] = {"usage": None} if options.get("include_usage") else {}
    if chat and options.get("include_obfuscation", True):
        more["obfuscation"] = _OBFUSCATION
    for choice in answer["choices"]:
        index = choice["index"]
        if chat:
            first = {"role": "assistant", "content": choice["message"].get("content") and "", "refusal": None}
            yield {**head, "choices": [_openai_choice(index, {"delta": first})], **more}
        for delta in _deltas(choice, chat):
            said = {"delta": delta} if chat else {"text": delta["content"]}
            yield {**head, "choices": [_openai_choice(index, said)], **more}
        last: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
        yield {
            **head,
            "choices": [_openai_choice(index, last) | {"finish_reason": choice.get("finish_reason")}],
            **more,
        }
    if options.get("include_usage") and "usage" in answer:
        yield {**head, "choices": [], **more, "usage": answer["usage"]}


def _openai_choice(index: int, said: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, **said, "logprobs": None, "finish_reason": None}


def _deltas(choice: dict[str, Any], chat: bool) -> Iterator[dict[str, Any]]:
    """What is said of a choice, about a token at a time; text first, then each tool call."""
    if not chat:
        yield from ({"content": piece} for piece in _pieces(choice["text"]))
        return
    message = choice["message"]
    yield from ({"reasoning": piece} for piece in _pieces(message.get("reasoning") or ""))
    yield from ({"content": piece} for piece in _pieces(message.get("content") or ""))
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        begun = {"index": index, "id": call["id"], "type": "function", "function": {**function, "arguments": ""}}
        yield {"tool_calls": [begun]}
        for piece in _pieces(function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _pieces(text: str) -> Iterator[str]:
    for at in range(0, len(text), BYTES_PER_TOKEN):
        yield text[at : at + BYTES_PER_TOKEN]
