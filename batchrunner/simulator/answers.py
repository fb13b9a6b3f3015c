"""Good answers of chat and completions, and the usage of every endpoint. Deterministic: no clock, no dice.

The same model, prompt and seed give the same text. The `id` also depends on how often that very body was seen before,
so that no two calls share one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from batchrunner.simulator import catalogue, thinking, transcripts
from batchrunner.simulator.bill import Units
from batchrunner.simulator.calls import Call, paints_by_token
from batchrunner.simulator.fitting import fitting, format_of, schema_of
from batchrunner.simulator.settings import Settings
from batchrunner.simulator.text import digest_of, drawn_length, fraction, prose
from batchrunner.simulator.tools import called

_LEAST_WITH_ECHO = 8
_LEAST_AS_JSON = 14
_JSON_FRAME_TOKENS = 3
"""`{"text":""}` is 11 bytes."""


class Choice(NamedTuple):
    """One text to generate: what it depends on, its length in tokens, and why it ends there."""

    digest: bytes
    tokens: int
    finish: str
    thought: int = 0
    """Tokens that are thought before the text; they are not among its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A call, and what serving it will take, known before anything is generated. Lengths are tokens."""

    call: Call
    choices: tuple[Choice, ...]
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    admission_tokens: int
    """What the token bucket is charged."""
    units: Units | None = None
    """What it takes beside its tokens."""


def plan(call: Call, settings: Settings) -> Work:
    """Draw the lengths of the texts that `call` asks for."""
    choices = _choices(call, settings)
    output = sum(choice.tokens + choice.thought for choice in choices) + call.fixed_output
    heard = call.endpoint in transcripts.ENDPOINTS
    if heard and not transcripts.counts_tokens(call.model, settings):
        output = 0  # billed by its seconds
    measured = call.endpoint in ("speech", "videos") or (call.endpoint == "images" and not paints_by_token(call.model))
    reserved = output
    if settings.count_tokens == "max" and call.max_tokens is not None:
        reserved = call.max_tokens * len(choices)
    return Work(
        call=call,
        choices=choices,
        input_tokens=0 if measured else call.input_tokens,
        cached_tokens=int(call.input_tokens * settings.cached_share) if choices and not heard else 0,
        output_tokens=output,
        admission_tokens=call.input_tokens + reserved,
        units=call.units,
    )


def usage_of(work: Work, settings: Settings) -> dict[str, Any] | None:
    """Usage as the flavour reports it: flat `cached_tokens` on Together, detail objects on OpenAI.

    Together's embeddings carry none.
    """
    given, made = work.input_tokens, work.output_tokens
    endpoint, together = work.call.endpoint, settings.flavour == "together"
    if endpoint in transcripts.ENDPOINTS:
        return transcripts.transcript_usage(work.call, settings, made)
    if _is_uncounted(work.call, together=together):
        return None
    if endpoint in ("images", "responses"):
        return _itemized(work)
    if endpoint == "embeddings":
        return {"prompt_tokens": given, "total_tokens": given}
    if endpoint == "score":
        return {"prompt_tokens": given, "total_tokens": given, "completion_tokens": 0, "prompt_tokens_details": None}
    if endpoint == "rerank":
        return (
            {"prompt_tokens": given, "completion_tokens": 0, "total_tokens": given}
            if together
            else {"total_tokens": given}
        )
    usage: dict[str, Any] = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
    thought = sum(choice.thought for choice in work.choices)
    if together:
        usage["cached_tokens"] = work.cached_tokens
        if thinking.thinks(work.call):
            usage["completion_tokens_details"] = {"reasoning_tokens": thought}
    else:
        usage["prompt_tokens_details"] = {"cached_tokens": work.cached_tokens, "audio_tokens": 0}
        usage["completion_tokens_details"] = {
            "reasoning_tokens": thought,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        }
    return usage


def _is_uncounted(call: Call, *, together: bool) -> bool:
    """Whether answers say nothing of what they used."""
    if call.endpoint == "images":
        return not paints_by_token(call.model)
    return call.endpoint in ("moderations", "speech", "videos") or (call.endpoint == "embeddings" and together)


def _itemized(work: Work) -> dict[str, Any]:
    """Usage under the names of OpenAI's newer endpoints."""
    given, made = work.input_tokens, work.output_tokens
    usage: dict[str, Any] = {"input_tokens": given, "output_tokens": made, "total_tokens": given + made}
    if work.call.endpoint == "images":
        return usage | {"input_tokens_details": {"text_tokens": given, "image_tokens": 0}}
    return usage | {
        "input_tokens_details": {"cached_tokens": work.cached_tokens, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }


def chat_answer(work: Work, settings: Settings, *, call_id: str, created: int, echo: str) -> dict[str, Any]:
    """Chat completion without its usage. Together adds `prompt: []`, `tool_calls: []` and a seed above 2^63."""
    together = settings.flavour == "together"
    answer: dict[str, Any] = {"id": call_id, "object": "chat.completion", "created": created, "model": work.call.model}
    if together:
        answer["prompt"] = []
    answer["choices"] = [_chat_choice(index, choice, work, settings, echo) for index, choice in enumerate(work.choices)]
    answer["system_fingerprint"] = f"fp_{echo}"
    return answer


def completion_answer(work: Work, settings: Settings, *, call_id: str, created: int, echo: str) -> dict[str, Any]:
    """Completion without its usage. The `object` is `text.completion` on Together, `text_completion` on OpenAI."""
    together = settings.flavour == "together"
    answer: dict[str, Any] = {
        "id": call_id,
        "object": "text.completion" if together else "text_completion",
        "created": created,
        "model": work.call.model,
    }
    if together:
        answer["prompt"] = []
    answer["choices"] = [_text_choice(index, choice, work, settings, echo) for index, choice in enumerate(work.choices)]
    answer["system_fingerprint"] = f"fp_{echo}"
    return answer


def call_id(settings: Settings, endpoint: str, body_sha256: str, seen: int) -> str:
    """An id in the flavour's style; no fixed prefix on Together."""
    marks = digest_of("id", settings.seed, body_sha256, seen).hex()
    if settings.flavour == "together":
        return f"o{marks[:6]}-{marks[6:12]}-{marks[12:28]}"
    prefix = {"chat": "chatcmpl-", "completions": "cmpl-", "responses": "resp_", "moderations": "modr-"}.get(
        endpoint, ""
    )
    return f"{prefix}{marks[:29]}"


def _choices(call: Call, settings: Settings) -> tuple[Choice, ...]:
    if call.endpoint in transcripts.ENDPOINTS:
        digest = digest_of(call.endpoint, settings.seed, call.model, call.body.get("sound"))
        return (Choice(digest, transcripts.spoken_tokens(call, settings), "stop"),)
    if call.endpoint not in ("chat", "completions", "responses"):
        return ()
    prompts: tuple[Any, ...] = call.texts
    if call.endpoint != "completions":
        prompts = (call.body.get("messages" if call.endpoint == "chat" else "input"),)
    seed = call.body.get("seed")
    return tuple(
        _choice(digest_of(call.endpoint, settings.seed, call.model, prompt, seed, index), call, settings)
        for prompt in prompts
        for index in range(call.choices)
    )


def _choice(digest: bytes, call: Call, settings: Settings) -> Choice:
    wanted = drawn_length(digest, settings.mean_output_tokens, settings.output_spread)
    if settings.echo:
        wanted = max(wanted, _LEAST_WITH_ECHO)
    if _wants_json(call):
        wanted = max(wanted, _LEAST_AS_JSON)
    most = call.max_tokens
    if most is None:
        context = catalogue.context_of(call.model) if settings.context_length is None else settings.context_length
        most = max(1, context - call.input_tokens)
    thought = min(thinking.thought_tokens(call, wanted), most)
    if thought + wanted > most:
        return Choice(digest, most - thought, "length", thought)
    ended = "eos" if settings.flavour == "together" and fraction(digest, 16) < 0.5 else "stop"
    return Choice(digest, wanted, ended, thought)


def content_of(choice: Choice, call: Call, settings: Settings, echo: str) -> str:
    """The text of one answer, in the form that was asked for."""
    opening = f"[echo {echo}] " if settings.echo else ""
    whole = choice.finish != "length"
    if not _wants_json(call):
        return prose(choice.digest, choice.tokens, opening=opening, whole=whole)
    inner = prose(choice.digest, max(1, choice.tokens - _JSON_FRAME_TOKENS), opening=opening, whole=whole)
    schema = schema_of(format_of(call.body))
    text = msgspec.json.encode({"text": inner}).decode() if schema is None else fitting(schema, inner)
    return text if whole else text[: min(len(text) - 2, choice.tokens * 4)]


def _wants_json(call: Call) -> bool:
    wanted = format_of(call.body)
    return call.endpoint != "completions" and wanted.get("type") in ("json_object", "json_schema")


def _chat_choice(index: int, choice: Choice, work: Work, settings: Settings, echo: str) -> dict[str, Any]:
    together = settings.flavour == "together"
    content = content_of(choice, work.call, settings, echo)
    calls = called(work.call, choice.digest, content)
    message: dict[str, Any] = {"role": "assistant", "content": content}
    answer: dict[str, Any] = {
        "index": index,
        "message": message,
        "finish_reason": choice.finish,
        "logprobs": None,
    }
    if calls:
        message["content"] = "" if together else None
        message["tool_calls"] = [{"index": place, **call} if together else call for place, call in enumerate(calls)]
        answer["finish_reason"] = "tool_calls"
    thinking.think(message, work.call, choice.digest, choice.thought, whole=choice.tokens > 0)
    if together:
        message.setdefault("tool_calls", [])
        answer["seed"] = _huge_seed(choice.digest)
    else:
        message["refusal"] = None
        message["annotations"] = []
    return answer


def _text_choice(index: int, choice: Choice, work: Work, settings: Settings, echo: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "index": index,
        "text": content_of(choice, work.call, settings, echo),
        "finish_reason": choice.finish,
        "logprobs": None,
    }
    if settings.flavour == "together":
        answer["seed"] = _huge_seed(choice.digest)
    return answer


def _huge_seed(digest: bytes) -> int:
    """Like 15924764223251450000: between 2^63 and 2^64, the last digits zero. Does not fit a signed 64-bit column."""
    low, high = 2**63 // 10_000 + 1, (2**64 - 1) // 10_000
    return (low + int.from_bytes(digest[24:32], "big") % (high - low)) * 10_000
