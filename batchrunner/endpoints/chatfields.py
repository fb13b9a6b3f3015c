"""The fields of chat and completions, as Together and OpenAI describe them."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from batchrunner.endpoints.rules import (
    NAME,
    NOTHING,
    OBJECT,
    SWITCH,
    TEXT,
    TOKENS,
    Finding,
    Rule,
    above,
    either,
    fields,
    list_of,
    map_of,
    number,
    one_of,
    simple,
    text,
    whole,
)

_PENALTY: Final = number(-2, 2)
_SAMPLING: Final[Mapping[str, Rule]] = {
    "model": NAME,
    "max_tokens": whole(1),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "top_k": simple(
        "-1 or a whole number of at least 1", lambda value: type(value) is int and (value == -1 or value > 0)
    ),
    "min_p": number(0, 1),
    "repetition_penalty": above(0),
    "presence_penalty": _PENALTY,
    "frequency_penalty": _PENALTY,
    "stop": either(TEXT, list_of(TEXT)),
    "n": whole(1, 128),
    "seed": whole(),
    "stream": SWITCH,
    "stream_tokens": SWITCH,
    "stream_options": fields({"include_usage": SWITCH}),
    "logprobs": either(whole(0, 20), SWITCH),
    "logit_bias": map_of(number(-100, 100)),
    "safety_model": TEXT,
    "echo": SWITCH,
    "user": TEXT,
    "service_tier": TEXT,
}

_URL: Final = fields({"url": NAME}, "url")
_PART: Final = fields(
    {
        "type": one_of("text", "image_url", "video_url", "audio_url", "input_audio", "file", "refusal"),
        "text": TEXT,
        "image_url": _URL,
        "video_url": _URL,
        "audio_url": _URL,
        "input_audio": fields({"data": NAME, "format": NAME}, "data", "format"),
    },
    "type",
)
_FUNCTION: Final = fields({"name": text(64, least=1), "description": TEXT, "parameters": OBJECT}, "name")
_CALL: Final = fields(
    {"id": TEXT, "function": fields({"name": NAME, "arguments": TEXT}, "name", "arguments")}, "function"
)
_ROLES: Final = ("system", "user", "assistant", "tool", "developer", "function")
_MESSAGE: Final = fields(
    {
        "role": one_of(*_ROLES),
        "tool_calls": list_of(_CALL),
        "tool_call_id": TEXT,
        "name": TEXT,
        "reasoning": TEXT,
        "reasoning_content": TEXT,
    },
    "role",
)


def _message(value: Any, field: str) -> Iterator[Finding]:
    """Look at a message part by part, so that the finding names the part."""
    yield from _MESSAGE.look(value, field)
    if type(value) is not dict:
        return
    content = value.get("content")
    if type(content) is list:
        yield from list_of(_PART, least=1).look(content, f"{field}.content")
    elif content is not None:
        yield from simple("a string or a list of parts", lambda said: type(said) is str).look(
            content, f"{field}.content"
        )
    elif value.get("role") in ("system", "user", "tool", "developer"):
        yield Finding(f"{field}.content", "a string or a list of parts", NOTHING)
    if value.get("role") == "tool" and value.get("tool_call_id") is None:
        yield Finding(f"{field}.tool_call_id", "the id of the call that is answered", NOTHING)


MESSAGES: Final = list_of(Rule("an object with a role", _message), least=1)
_SCHEMA: Final = fields({"name": text(64, least=1), "schema": OBJECT, "strict": SWITCH}, "name")
_FORMAT: Final = fields(
    {"type": one_of("text", "json_object", "json_schema", "regex"), "json_schema": _SCHEMA, "pattern": TEXT}, "type"
)
EFFORT: Final = one_of("none", "minimal", "low", "medium", "high", "xhigh")

CHAT: Final[Mapping[str, Rule]] = {
    **_SAMPLING,
    "messages": MESSAGES,
    "max_completion_tokens": whole(1),
    "top_logprobs": whole(0, 20),
    "tools": list_of(fields({"type": one_of("function", "custom"), "function": _FUNCTION}, "type")),
    "tool_choice": either(one_of("none", "auto", "required"), OBJECT),
    "parallel_tool_calls": SWITCH,
    "functions": list_of(_FUNCTION),
    "function_call": either(one_of("none", "auto"), OBJECT),
    "response_format": _FORMAT,
    "reasoning": fields({"enabled": SWITCH}),
    "reasoning_effort": EFFORT,
    "chat_template_kwargs": OBJECT,
    "context_length_exceeded_behavior": one_of("error", "truncate"),
    "compliance": one_of("hipaa"),
    "store": SWITCH,
    "metadata": OBJECT,
    "prediction": OBJECT,
    "safety_identifier": TEXT,
    "prompt_cache_key": TEXT,
    "prompt_cache_retention": TEXT,
    "verbosity": one_of("low", "medium", "high"),
    "web_search_options": OBJECT,
    "modalities": list_of(one_of("text", "audio")),
    "audio": OBJECT,
}
_TEXTS: Final = either(TEXT, list_of(TEXT), TOKENS, list_of(TOKENS))
COMPLETIONS: Final[Mapping[str, Rule]] = {**_SAMPLING, "prompt": _TEXTS, "suffix": TEXT, "best_of": whole(1, 128)}
