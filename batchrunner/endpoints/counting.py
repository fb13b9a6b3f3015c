"""Input tokens of a body by a tokenizer, where its endpoint's format tells which texts become part of the prompt."""

from typing import Any

import msgspec

from batchrunner.core.estimate import Tokenizer
from batchrunner.endpoints.chat import IMAGE_TOKENS, MESSAGE_TOKENS

_BODY = msgspec.json.Decoder(dict[str, Any])
_COMPACT = msgspec.json.Encoder().encode


def counted(endpoint: str, body: bytes, guessed: int, tokenizer: Tokenizer) -> int:
    """Return the input tokens of a body that was inspected, by the name of its endpoint.

    The texts of chats, completions, embeddings and rankings are counted; what a chat's template puts around each
    message, and pictures, are still estimated. Other endpoints, and bodies with parts of another kind (sounds, files,
    token numbers), keep what was ``guessed``.
    """
    count = _COUNTS.get(endpoint)
    if count is None:
        return guessed
    try:
        found = count(_BODY.decode(body), tokenizer)
    except (msgspec.DecodeError, TypeError, KeyError):  # a shape that only its endpoint knows
        return guessed
    return guessed if found is None else found


def _chat(body: dict[str, Any], tokenizer: Tokenizer) -> int | None:
    texts = [_COMPACT(body[name]).decode() for name in ("tools", "functions", "response_format") if body.get(name)]
    around = 0
    for message in body["messages"]:
        content = message.get("content")
        parts = content if isinstance(content, list) else [content or ""]
        for part in parts:
            if isinstance(part, str):
                texts.append(part)
            elif "image_url" in part:
                around += IMAGE_TOKENS
            elif isinstance(part.get("text"), str):
                texts.append(part["text"])
            else:
                return None
        if message.get("tool_calls"):
            texts.append(_COMPACT(message["tool_calls"]).decode())
        around += MESSAGE_TOKENS
    return around + sum(tokenizer.counts(texts, special=False))


def _completion(body: dict[str, Any], tokenizer: Tokenizer) -> int | None:
    suffix = [body["suffix"]] if body.get("suffix") else []
    prompt = _whole(body["prompt"], tokenizer)
    return None if prompt is None else prompt + sum(tokenizer.counts(suffix, special=False))


def _embedding(body: dict[str, Any], tokenizer: Tokenizer) -> int | None:
    return _whole(body["input"], tokenizer)


def _ranking(body: dict[str, Any], tokenizer: Tokenizer) -> int | None:
    documents = body["documents"]
    found = _whole(documents, tokenizer)
    (query,) = tokenizer.counts([body["query"]], special=False)
    return None if found is None else found + query * len(documents)


def _whole(given: Any, tokenizer: Tokenizer) -> int | None:
    """Count texts that a model reads as they are; None for token numbers and objects."""
    texts = [given] if isinstance(given, str) else given
    if not all(isinstance(text, str) for text in texts):
        return None
    return sum(tokenizer.counts(texts, special=True))


_COUNTS = {"chat": _chat, "completions": _completion, "embeddings": _embedding, "rerank": _ranking}
