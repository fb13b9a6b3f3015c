"""Reading what a client sent: a body becomes a Call, or the Refusal that the provider would answer with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from batchrunner.simulator import catalogue, errors
from batchrunner.simulator.bill import Units
from batchrunner.simulator.errors import Refusal
from batchrunner.simulator.parts import BadPartError, message_tokens
from batchrunner.simulator.settings import Settings
from batchrunner.simulator.text import tokens_of

Endpoint = Literal[
    "chat", "completions", "embeddings", "rerank", "responses", "moderations", "score",
    "transcriptions", "translations", "images", "speech", "videos",
]  # fmt: skip
Reader = Callable[[str, dict[str, Any], Settings], "Call | Refusal"]

_RERANK_FIELDS: Final = frozenset({"model", "query", "documents", "top_n", "return_documents", "rank_fields"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A valid request. Lengths are tokens by the simulator's own rule."""

    endpoint: Endpoint
    model: str
    body: dict[str, Any]
    texts: tuple[Any, ...]
    """Prompts, texts to embed, or the documents to rank; empty for chat."""
    input_tokens: int
    max_tokens: int | None = None
    choices: int = 1
    """Answers wanted for each prompt."""
    streamed: bool = False
    """The answer is wanted as a stream of events."""
    fixed_output: int = 0
    """Output tokens that nothing is drawn for: pictures count as so many."""
    units: Units | None = None
    """What it takes beside its tokens."""


def read_call(
    endpoint: Endpoint, raw: bytes, settings: Settings, more: Mapping[str, Reader] | None = None
) -> Call | Refusal:
    """Judge a body as the provider would: JSON, model, then the endpoint's own rules; `more` are those of others."""
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refusal(400, "We could not parse the JSON body of your request.")
    if not isinstance(body, dict):
        return Refusal(400, "The JSON body of the request must be an object.")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        return Refusal(400, "you must provide a model parameter", param="model")
    if settings.poison and settings.poison.encode() in raw:
        return Refusal(400, "Input validation error")
    refusal = judge_model(model, settings)
    if refusal is not None:
        return refusal
    return {**_READERS, **(more or {})}[endpoint](model, body, settings)


def paints_by_token(model: str) -> bool:
    """Whether pictures of a model are billed by tokens, as OpenAI's newer ones are."""
    return model.startswith("gpt-image")


def judge_model(model: str, settings: Settings) -> Refusal | None:
    """Why a model is not served, if it is not."""
    if model in settings.missing_models or (settings.models is not None and model not in settings.models):
        return errors.missing_model(settings.flavour, model)
    if model in settings.unavailable_models:
        return errors.unavailable_model(model)
    return None


def _read_chat(model: str, body: dict[str, Any], settings: Settings) -> Call | Refusal:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return Refusal(400, "'messages' must be a list that is not empty", param="messages")
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            return Refusal(400, f"'messages.{place}' must be an object with a role", param=f"messages.{place}")
    try:
        tokens = sum(map(message_tokens, messages))
    except BadPartError as problem:
        return Refusal(400, str(problem), param="messages")
    call = Call(endpoint="chat", model=model, body=body, texts=(), input_tokens=tokens)
    return _with_sampling(call, settings, default_max=None)


def _read_completion(model: str, body: dict[str, Any], settings: Settings) -> Call | Refusal:
    prompt = body.get("prompt")
    prompts = texts_of(prompt)
    # Together takes one string, OpenAI also lists of strings and of token numbers.
    if not prompts or (settings.flavour == "together" and not isinstance(prompt, str)):
        return Refusal(400, "'prompt' is missing or of the wrong type", param="prompt")
    call = Call(
        endpoint="completions",
        model=model,
        body=body,
        texts=prompts,
        input_tokens=sum(map(text_tokens, prompts)),
    )
    return _with_sampling(call, settings, default_max=16 if settings.flavour == "openai" else None)


def _with_sampling(call: Call, settings: Settings, *, default_max: int | None) -> Call | Refusal:
    body = call.body
    streamed = body.get("stream") or (settings.flavour == "together" and body.get("stream_tokens"))
    if not isinstance(streamed, bool | None):
        return Refusal(400, "'stream' must be true or false", param="stream")
    most = body.get("max_completion_tokens")
    most = body.get("max_tokens") if most is None else most
    most = default_max if most is None else most
    choices = body.get("n")
    choices = 1 if choices is None else choices
    if most is not None and (not is_int(most) or most < 1):
        return Refusal(400, "'max_tokens' must be an integer of at least 1", param="max_tokens")
    if not is_int(choices) or not 1 <= choices <= 128:
        return Refusal(400, "'n' must be an integer from 1 to 128", param="n")
    context = context_for(call.model, settings)
    if call.input_tokens >= context or call.input_tokens + (most or 0) > context:
        return errors.context_exceeded(settings.flavour, context, call.input_tokens, most or 0)
    return Call(
        endpoint=call.endpoint,
        model=call.model,
        body=body,
        texts=call.texts,
        input_tokens=call.input_tokens,
        max_tokens=most,
        choices=choices,
        streamed=bool(streamed),
    )


def _read_rerank(model: str, body: dict[str, Any], settings: Settings) -> Call | Refusal:
    unknown = body.keys() - _RERANK_FIELDS
    if settings.flavour == "together" and unknown:
        return Refusal(400, f"unknown fields: {', '.join(sorted(unknown))}", param=min(unknown))
    query, documents, top = body.get("query"), body.get("documents"), body.get("top_n")
    if not isinstance(query, str) or not query:
        return Refusal(400, "'query' must be a text", param="query")
    if not isinstance(documents, list) or not documents or not all(isinstance(each, str | dict) for each in documents):
        return Refusal(400, "'documents' must be a list of texts or objects", param="documents")
    if top is not None and (not is_int(top) or top < 1):
        return Refusal(400, "'top_n' must be an integer of at least 1", param="top_n")
    texts = tuple(map(_document_text, documents))
    return Call(
        endpoint="rerank",
        model=model,
        body=body,
        texts=texts,
        input_tokens=tokens_of(query) + sum(map(tokens_of, texts)),
        units=Units(searches=1),
    )


def _read_response(model: str, body: dict[str, Any], settings: Settings) -> Call | Refusal:
    given = body.get("input")
    if not isinstance(given, str | list) or not given:
        return Refusal(400, "Missing required parameter: 'input'.", code="missing_required_parameter", param="input")
    most = body.get("max_output_tokens")
    if most is not None and (not is_int(most) or most < 16):
        return Refusal(400, "'max_output_tokens' must be an integer of at least 16", param="max_output_tokens")
    items = [{"content": given}] if isinstance(given, str) else given
    call = Call(endpoint="responses", model=model, body=body, texts=(), input_tokens=sum(map(message_tokens, items)))
    return _with_sampling(call, settings, default_max=most)


def _read_moderation(model: str, body: dict[str, Any], _: Settings) -> Call | Refusal:
    given = body.get("input")
    if not isinstance(given, str | list) or given == []:
        return Refusal(400, "'input' is missing", param="input")
    texts = (given,) if isinstance(given, str) else tuple(map(_document_text, given))
    tokens = sum(map(tokens_of, texts))
    return Call(endpoint="moderations", model=model, body=body, texts=texts, input_tokens=tokens)


def _read_score(model: str, body: dict[str, Any], _: Settings) -> Call | Refusal:
    one, other = (value if isinstance(value, list) else [value] for value in (body.get("text_1"), body.get("text_2")))
    if not one or not other or not all(isinstance(text, str) for text in one + other):
        return Refusal(400, "'text_1' and 'text_2' must be texts or lists of texts")
    if len(one) > 1 and len(one) != len(other):
        return Refusal(400, "Input lengths must be either 1:1, 1:N or N:N")
    pairs = tuple(zip(one * len(other) if len(one) == 1 else one, other, strict=True))
    tokens = sum(tokens_of(left) + tokens_of(right) for left, right in pairs)
    return Call(endpoint="score", model=model, body=body, texts=pairs, input_tokens=tokens)


def texts_of(value: Any) -> tuple[Any, ...] | None:
    """One text, texts, token numbers, or lists of token numbers, as a tuple; None if it is nothing of the kind."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(each, str) for each in value):
        return tuple(value)
    if all(map(is_int, value)):
        return (tuple(value),)
    if all(isinstance(each, list) and each and all(map(is_int, each)) for each in value):
        return tuple(tuple(each) for each in value)
    return None


def text_tokens(text: Any) -> int:
    """Length of a text, or of a text that came as token numbers."""
    return tokens_of(text) if isinstance(text, str) else len(text)


def _document_text(document: str | dict[str, Any]) -> str:
    if isinstance(document, str):
        return document
    text = document.get("text")
    return text if isinstance(text, str) else msgspec.json.encode(document).decode()


def context_for(model: str, settings: Settings) -> int:
    """How many tokens a model takes."""
    return catalogue.context_of(model) if settings.context_length is None else settings.context_length


def is_int(value: Any) -> bool:
    """Whether a JSON value is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


_READERS: Final[dict[str, Reader]] = {
    "chat": _read_chat,
    "completions": _read_completion,
    "rerank": _read_rerank,
    "responses": _read_response,
    "moderations": _read_moderation,
    "score": _read_score,
}
