"""The fields of every endpoint's body, as Together and OpenAI describe them, for ``check``.

A rule that the two disagree about is the wider one, unless the provider is known: then its own counts.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from batchrunner.endpoints.chatfields import CHAT, COMPLETIONS, EFFORT, NAME, TOKENS
from batchrunner.endpoints.rules import (
    ANYTHING,
    NOTHING,
    OBJECT,
    SWITCH,
    TEXT,
    Finding,
    Rule,
    either,
    fields,
    list_of,
    number,
    one_of,
    shown,
    simple,
    text,
    whole,
)

_EMBEDDED: Final = either(TEXT, list_of(TEXT, 2048), TOKENS, list_of(TOKENS, 2048))
EMBEDDINGS: Final[Mapping[str, Rule]] = {
    "model": NAME,
    "input": Rule("a string that is not empty, or a list of at most 2,048 of them", _EMBEDDED.look),
    "encoding_format": one_of("float", "base64"),
    "dimensions": whole(1),
    "user": TEXT,
}
_DOCUMENTS: Final = list_of(either(TEXT, OBJECT), 1024, least=1)
RERANK: Final[Mapping[str, Rule]] = {
    "model": NAME,
    "query": NAME,
    "documents": _DOCUMENTS,
    "top_n": whole(1),
    "return_documents": SWITCH,
    "rank_fields": list_of(TEXT),
}
SCORE: Final[Mapping[str, Rule]] = {
    "model": NAME,
    "text_1": either(TEXT, list_of(TEXT)),
    "text_2": either(TEXT, list_of(TEXT)),
    "truncate_prompt_tokens": whole(-1),
}
RESPONSES: Final[Mapping[str, Rule]] = {
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
MODERATIONS: Final[Mapping[str, Rule]] = {"model": NAME, "input": either(TEXT, list_of(TEXT), list_of(OBJECT))}
_LINK: Final = simple(
    "an https:// or a data: URL",
    lambda value: type(value) is str and value.startswith(("https://", "http://", "data:")),
)
IMAGES: Final[Mapping[str, Rule]] = {
    "model": NAME,
    "prompt": NAME,
    "n": whole(1, 10),
    "width": simple(
        "a multiple of 8 from 256 to 1920", lambda value: type(value) is int and 256 <= value <= 1920 and value % 8 == 0
    ),
    "steps": whole(1),
    "size": simple('a size such as "1024x1024"', lambda value: type(value) is str),
    "aspect_ratio": TEXT,
    "seed": whole(),
    "negative_prompt": TEXT,
    "guidance_scale": number(0, 100),
    "guidance": number(0, 100),
    "response_format": one_of("url", "base64", "b64_json"),
    "output_format": one_of("jpeg", "png", "webp"),
    "image_url": _LINK,
    "reference_images": list_of(_LINK),
    "image_loras": list_of(fields({"path": NAME, "scale": number(-10, 10)}, "path"), 2),
    "disable_safety_checker": SWITCH,
    "prompt_upsampling": SWITCH,
    "quality": TEXT,
    "background": TEXT,
    "moderation": TEXT,
    "output_compression": whole(0, 100),
    "partial_images": whole(0, 3),
    "user": TEXT,
}
TRANSCRIPTIONS: Final[Mapping[str, Rule]] = {
    "model": NAME,
    "file": NAME,
    "language": TEXT,
    "prompt": TEXT,
    "response_format": one_of("json", "text", "srt", "verbose_json", "vtt", "diarized_json"),
    "temperature": number(0, 1),
    "timestamp_granularities": either(one_of("segment", "word"), list_of(one_of("segment", "word"))),
    "diarize": SWITCH,
    "min_speakers": whole(1),
    "max_speakers": whole(1),
}
SPEECH: Final[Mapping[str, Rule]] = {
    "model": NAME,
    "input": NAME,
    "voice": either(NAME, OBJECT),
    "response_format": one_of("mp3", "wav", "raw", "opus", "aac", "flac", "pcm"),
    "language": TEXT,
    "response_encoding": one_of("pcm_f32le", "pcm_s16le", "pcm_mulaw", "pcm_alaw"),
    "sample_rate": whole(1),
    "bit_rate": whole(1),
    "stream": SWITCH,
    "instructions": TEXT,
    "speed": number(0.25, 4),
    "stream_format": one_of("sse", "audio"),
}
VIDEOS: Final[Mapping[str, Rule]] = {
    "model": NAME,
    "prompt": text(32_000, least=1),
    "width": whole(1),
    "height": whole(1),
    "resolution": TEXT,
    "ratio": TEXT,
    "seconds": TEXT,
    "fps": whole(1),
    "steps": whole(10, 50),
    "seed": whole(),
    "guidance_scale": number(0, 100),
    "output_format": one_of("MP4", "WEBM"),
    "output_quality": whole(0, 100),
    "negative_prompt": TEXT,
    "generate_audio": SWITCH,
    "media": OBJECT,
    "frame_images": list_of(ANYTHING),
    "reference_images": list_of(ANYTHING),
}

BODIES: Final[Mapping[str, Mapping[str, Rule]]] = MappingProxyType(
    {
        "/v1/chat/completions": CHAT,
        "/v1/completions": COMPLETIONS,
        "/v1/embeddings": EMBEDDINGS,
        "/v1/rerank": RERANK,
        "/rerank": RERANK,
        "/v2/rerank": RERANK,
        "/score": SCORE,
        "/v1/responses": RESPONSES,
        "/v1/moderations": MODERATIONS,
        "/v1/images/generations": {**IMAGES, "height": IMAGES["width"]},
        "/v1/audio/transcriptions": TRANSCRIPTIONS,
        "/v1/audio/translations": TRANSCRIPTIONS,
        "/v1/audio/speech": SPEECH,
        "/v2/videos": VIDEOS,
    }
)
"""The fields of a body by its endpoint's path."""

_STOPS: Final = list_of(TEXT)
OWN: Final[Mapping[str, Mapping[str, Mapping[str, Rule]]]] = MappingProxyType(
    {
        "together": {
            "/v1/chat/completions": {"logprobs": whole(0, 20), "stop": _STOPS},
            "/v1/completions": {"logprobs": whole(0, 20), "stop": _STOPS, "prompt": TEXT},
            "/v1/images/generations": {"n": whole(1, 4), "response_format": one_of("url", "base64")},
            "/v1/audio/speech": {"response_format": one_of("mp3", "wav", "raw")},
            "/v1/audio/transcriptions": {"response_format": one_of("json", "verbose_json")},
        },
        "openai": {
            "/v1/chat/completions": {
                "logprobs": SWITCH,
                "stop": either(TEXT, list_of(TEXT, 4)),
                "response_format": fields({"type": one_of("text", "json_object", "json_schema")}, "type"),
            },
            "/v1/embeddings": {"input": either(NAME, list_of(NAME, 2048, least=1), TOKENS, list_of(TOKENS, 2048))},
            "/v1/audio/speech": {"input": text(4096, least=1)},
        },
    }
)
"""What one provider is stricter about, by its dialect."""


class Looked(NamedTuple):
    """What was found in one body."""

    findings: tuple[Finding, ...]
    unknown: tuple[str, ...]
    """Top-level fields that nobody describes: they are sent as they are."""


def look(path: str, body: Mapping[str, Any], dialect: str) -> Looked:
    """Look at a body's fields as a provider of this dialect (``together``, ``openai``, ``generic``) would."""
    known = BODIES.get(path)
    if known is None:
        return Looked((), ())
    own = OWN.get(dialect, {}).get(path, {})
    findings: list[Finding] = []
    for name, value in body.items():
        if name in known and value is not None:  # null is the same as leaving it out
            found = list(known[name].look(value, name))
            findings += found or (own[name].look(value, name) if name in own else ())
    if dialect == "openai" and path in _STREAMED and body.get("stream") is True:
        findings += _uncounted(body.get("stream_options"))
    return Looked(tuple(findings), tuple(name for name in body if name not in known))


def nearest(path: str, unknown: str) -> str | None:
    """Return the known field that an unknown one is probably a slip of, None where there is none that is near."""
    return next(iter(get_close_matches(unknown, BODIES.get(path, ()), 1, 0.8)), None)


_STREAMED: Final = frozenset({"/v1/chat/completions", "/v1/completions"})


def _uncounted(options: Any) -> Iterator[Finding]:
    """Find a stream that will not tell its usage: OpenAI sends it only where it is asked for."""
    if type(options) is not dict or options.get("include_usage") is not True:
        wished = '{"include_usage": true} beside a stream, or its tokens are only estimated'
        yield Finding("stream_options", wished, NOTHING if options is None else shown(options))
