"""Reading what is to be embedded: one text or a pack of them, within the limits of a flavour or of one's choice.

Sources of the refusals: OpenAI's own bodies (`max_tokens_per_request`; a text that is too long has no `code`, unlike a
chat), and for the other flavour the words of text-embeddings-inference, the server behind many such endpoints.
"""

from __future__ import annotations

from typing import Any, Final

from batchrunner.simulator import catalogue
from batchrunner.simulator.calls import Call, context_for, is_int, text_tokens, texts_of
from batchrunner.simulator.errors import Refusal
from batchrunner.simulator.settings import Settings
from batchrunner.simulator.text import BYTES_PER_TOKEN

_MAX_TEXTS: Final = 2048
_MAX_TOKENS_PER_REQUEST: Final = 300_000


def read_embedding(model: str, body: dict[str, Any], settings: Settings) -> Call | Refusal:
    """`POST /v1/embeddings`. Texts that are too long are refused, or cut to what the model takes."""
    texts = texts_of(body.get("input"))
    if not texts:
        return Refusal(400, "'input' must be a text or a list of texts that is not empty", param="input")
    refusal = _judge_form(body, settings) or _judge_dimensions(model, body.get("dimensions"), settings)
    if refusal is not None:
        return refusal
    context, lengths = context_for(model, settings), [text_tokens(text) for text in texts]
    refusal = _judge_size(lengths, context, settings)
    if refusal is not None:
        return refusal
    return Call(
        endpoint="embeddings",
        model=model,
        body=body,
        texts=tuple(
            _cut(text, context) if length > context else text for text, length in zip(texts, lengths, strict=True)
        ),
        input_tokens=sum(min(length, context) for length in lengths),
    )


def _judge_form(body: dict[str, Any], settings: Settings) -> Refusal | None:
    form = body.get("encoding_format")
    if form not in (None, "float", "base64"):
        return Refusal(400, "'encoding_format' must be 'float' or 'base64'", param="encoding_format")
    if form == "base64" and settings.base64_vectors == "refuse":
        return Refusal(400, "'encoding_format' must be 'float'", param="encoding_format")
    return None


def _judge_dimensions(model: str, wanted: Any, settings: Settings) -> Refusal | None:
    if wanted is None:
        return None
    if settings.flavour != "openai" or "ada-002" in model:
        return Refusal(400, "This model does not support specifying dimensions.")
    whole = dimensions_for(model, settings)
    if not is_int(wanted) or not 1 <= wanted <= whole:
        text = f"Invalid value for 'dimensions' = {wanted}. Must be at least 1 and less than or equal to {whole}."
        return Refusal(400, text)
    return None


def _judge_size(lengths: list[int], context: int, settings: Settings) -> Refusal | None:
    openai = settings.flavour == "openai"
    most = settings.max_texts if settings.max_texts is not None else _MAX_TEXTS if openai else None
    if most is not None and len(lengths) > most:
        return _too_many(len(lengths), most, openai=openai)
    if openai and not all(lengths):
        return _invalid_input()
    refusing = openai if settings.long_texts is None else settings.long_texts == "refuse"
    if refusing and max(lengths) > context:
        return _too_long(max(lengths), context, openai=openai)
    room = settings.max_request_tokens
    room = _MAX_TOKENS_PER_REQUEST if room is None and openai else room
    asked = sum(min(length, context) for length in lengths)
    if room is not None and asked > room:
        text, kind = f"Requested {asked} tokens, max {room} tokens per request", "max_tokens_per_request"
        return Refusal(400, text, kind, kind)
    return None


def _too_many(given: int, most: int, *, openai: bool) -> Refusal:
    if openai:
        return _invalid_input()
    return Refusal(413, f"batch size {given} > maximum allowed batch size {most}", "Validation")


def _too_long(given: int, context: int, *, openai: bool) -> Refusal:
    if not openai:
        text = f"Input validation error: `inputs` must have less than {context} tokens. Given: {given}"
        return Refusal(422, text, "Validation")
    return Refusal(
        400,
        f"This model's maximum context length is {context} tokens, however you requested {given} tokens ({given} in"
        " your prompt; 0 for the completion). Please reduce your prompt; or completion length.",
    )


def _invalid_input() -> Refusal:
    """All that OpenAI says of a list that is too long, and of one that holds an empty text."""
    place = "https://platform.openai.com/docs/api-reference"
    return Refusal(400, f"'$.input' is invalid. Please check the API reference: {place}.")


def _cut(text: Any, context: int) -> Any:
    """The beginning of a text (or of its token numbers) that is so many tokens long, as servers cut it silently."""
    if not isinstance(text, str):
        return text[:context]
    return text.encode("utf-8", "surrogatepass")[: context * BYTES_PER_TOKEN].decode("utf-8", "ignore")


def dimensions_for(model: str, settings: Settings) -> int:
    """Length of the vectors of a model that is asked for nothing else."""
    chosen = settings.embedding_dimensions
    return catalogue.dimensions_of(model) if chosen is None else chosen
