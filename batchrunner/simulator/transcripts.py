"""Speech to text: reading its form as the flavour would, and every form of answer. Deterministic."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from batchrunner.simulator.bill import Units
from batchrunner.simulator.calls import Call, Endpoint, judge_model
from batchrunner.simulator.errors import Refusal
from batchrunner.simulator.forms import Field, read_fields
from batchrunner.simulator.parts import TOKENS_PER_SECOND
from batchrunner.simulator.settings import Settings
from batchrunner.simulator.sounds import has_known_ending, kind_of, length_of
from batchrunner.simulator.text import digest_of, fraction, prose

ROUTES: Final[dict[str, Endpoint]] = {
    "/audio/transcriptions": "transcriptions",
    "/audio/translations": "translations",
}
ENDPOINTS: Final = frozenset(ROUTES.values())
MOST_BYTES: Final = {"together": 80_000_000, "openai": 25 * 1024 * 1024}
"""Of an upload."""
_LONGEST: Final = 4 * 3600 * 1000
"""Milliseconds that Together listens to."""
_FORMATS: Final = {
    "together": ("json", "verbose_json"),
    "openai": ("json", "text", "srt", "verbose_json", "vtt", "diarized_json"),
}
_SWITCHES: Final = ("diarize",)
_WORDS_TOKENS: Final = 3
"""Tokens that are said in a second."""
_LEAST_WITH_ECHO: Final = 8
_SENTENCE: Final = 4_000
"""Milliseconds of a segment."""


def read_form(endpoint: Endpoint, content_type: str, raw: bytes, settings: Settings) -> Call | Refusal:
    """Judge a form as the provider would: its parts, the model, the file, and the other fields."""
    fields = read_fields(content_type, raw)
    if fields is None:
        return Refusal(400, "We could not parse the multipart form of your request.", code="invalid_params")
    values = {field.name: field.text for field in fields if field.filename is None}
    model = values.get("model") or ("openai/whisper-large-v3" if settings.flavour == "together" else "")
    if not model:
        return Refusal(400, "you must provide a model parameter", param="model")
    if settings.poison and settings.poison.encode() in raw:
        return Refusal(400, "Input validation error")
    refusal = judge_model(model, settings) or _judge_fields(values, settings)
    if refusal is not None:
        return refusal
    heard = _listen(fields, settings)
    if isinstance(heard, Refusal):
        return heard
    granularities = [field.text for field in fields if field.name.startswith("timestamp_granularities")]
    heard_of = hashlib.sha256(b"".join(field.data for field in fields if field.name == "file")).hexdigest()
    body = {**values, "granularities": granularities, "sound": heard_of, "heard": heard}
    return Call(
        endpoint=endpoint,
        model=model,
        body=body,
        texts=(),
        input_tokens=-(-heard * TOKENS_PER_SECOND // 1000) if counts_tokens(model, settings) else 0,
        units=Units(milliseconds=_billed(heard, model, settings)),
    )


def counts_tokens(model: str, settings: Settings) -> bool:
    """Whether a model is billed by tokens and not by seconds, as OpenAI's newer ones are."""
    return settings.flavour == "openai" and "transcribe" in model


def listened(call: Call) -> int:
    """Milliseconds of what is listened to; a whole second more may be billed."""
    return int(call.body["heard"])


def _billed(heard: int, model: str, settings: Settings) -> int:
    """Milliseconds on the bill: what is stated is billed, and OpenAI states whole seconds, rounded up."""
    if settings.flavour == "openai" and not counts_tokens(model, settings):
        return -(-heard // 1000) * 1000
    return heard


def spoken_tokens(call: Call, settings: Settings) -> int:
    """The length of what is said."""
    return max(_LEAST_WITH_ECHO if settings.echo else 1, listened(call) * _WORDS_TOKENS // 1000)


def transcript_answer(call: Call, digest: bytes, tokens: int, opening: str) -> dict[str, Any] | str:
    """A transcript without its usage, in the form that was asked for: an object, or text."""
    wanted = call.body.get("response_format", "json")
    text = prose(digest, tokens, opening=opening)
    if wanted == "json":
        return {"text": text}
    if wanted == "text":
        return f"{text}\n"
    segments = _segments(text, listened(call))
    if wanted == "srt":
        cues = (f"{n}\n{_stamp(a, ',')} --> {_stamp(b, ',')}\n{said}\n" for n, (a, b, said) in enumerate(segments, 1))
        return "\n".join(cues)
    if wanted == "vtt":
        cues = (f"{_stamp(start, '.')} --> {_stamp(end, '.')}\n{said}\n" for start, end, said in segments)
        return "WEBVTT\n\n" + "\n".join(cues)
    return _verbose(call, text, segments, diarized=wanted == "diarized_json")


def content_type_of(call: Call) -> str | None:
    """The content type of an answer that is text; None for JSON."""
    kinds = {"text": "text/plain", "srt": "text/plain", "vtt": "text/vtt"}
    kind = kinds.get(call.body.get("response_format", "json"))
    return kind and f"{kind}; charset=utf-8"


def transcript_usage(call: Call, settings: Settings, output: int) -> dict[str, Any] | None:
    """Usage in seconds or tokens; Together sends none, and text has no place for it."""
    if settings.flavour == "together" or content_type_of(call) is not None:
        return None
    if not counts_tokens(call.model, settings):
        return {"type": "duration", "seconds": _billed(listened(call), call.model, settings) // 1000}
    given = call.input_tokens
    return {
        "type": "tokens",
        "input_tokens": given,
        "input_token_details": {"text_tokens": 0, "audio_tokens": given},
        "output_tokens": output,
        "total_tokens": given + output,
    }


def _judge_fields(values: dict[str, str], settings: Settings) -> Refusal | None:
    wanted = values.get("response_format", "json")
    if wanted not in _FORMATS[settings.flavour]:
        return Refusal(400, f"response_format '{wanted}' is not supported", code="invalid_params")
    try:
        warm = float(values.get("temperature", "0"))
    except ValueError:
        warm = -1.0
    if not 0.0 <= warm <= 1.0:
        return Refusal(400, "temperature must be a number from 0 to 1", code="invalid_params", param="temperature")
    for name in _SWITCHES:
        if values.get(name, "false") not in ("true", "false"):
            return Refusal(400, f"{name} must be true or false", code="invalid_params", param=name)
    return None


def _listen(fields: Sequence[Field], settings: Settings) -> int | Refusal:
    """Milliseconds of the sound, or why it is not listened to."""
    sent = [field for field in fields if field.name == "file"]
    if len(sent) != 1:
        return Refusal(400, "'file' is a required property", param="file", code="invalid_params")
    (file,) = sent
    together = settings.flavour == "together"
    if file.filename is None:
        if together and file.text.startswith(("https://", "http://")):
            return round(1000 + 60_000 * fraction(digest_of("url", file.text), 0))  # nothing is fetched
        return Refusal(400, "'file' must be an uploaded file", param="file", code="invalid_params")
    if len(file.data) > MOST_BYTES[settings.flavour]:
        return Refusal(413, "Maximum content size limit exceeded", "request_too_large", "request_too_large")
    if kind_of(file.data) is None or not (together or has_known_ending(file.filename)):
        return Refusal(400, "Unrecognized file format.", code="unsupported_format", param="file")
    length = length_of(file.data)
    if together and length > _LONGEST:
        return Refusal(400, "The audio is longer than 4 hours.", code="audio_too_long", param="file")
    return length


def _segments(text: str, milliseconds: int) -> list[tuple[int, int, str]]:
    """Start, end and text of pieces of about four seconds that make up the whole."""
    count = max(1, min(milliseconds // _SENTENCE, len(text)))
    at = [round(milliseconds * n / count) for n in range(count + 1)]
    cut = [round(len(text) * n / count) for n in range(count + 1)]
    return [(at[n], at[n + 1], text[cut[n] : cut[n + 1]].replace("\n", " ")) for n in range(count)]


def _verbose(call: Call, text: str, segments: list[tuple[int, int, str]], *, diarized: bool) -> dict[str, Any]:
    translated = call.endpoint == "translations"
    answer: dict[str, Any] = {
        "task": "translate" if translated else "transcribe",
        "language": "english" if translated else call.body.get("language", "en"),
        "duration": listened(call) / 1000,
        "text": text,
        "segments": [_segment(n, *segment, diarized=diarized) for n, segment in enumerate(segments)],
    }
    speaker = {"speaker_id": "SPEAKER_00"} if call.body.get("diarize") == "true" else {}
    words = [{"word": said.split(" ")[0], "start": a / 1000, "end": b / 1000, **speaker} for a, b, said in segments]
    if "word" in call.body["granularities"]:
        answer["words"] = words
    if speaker:
        whole = {"id": 0, "start": 0.0, "end": listened(call) / 1000, "text": text, "words": words}
        answer["speaker_segments"] = [{**whole, **speaker}]
    return answer


def _segment(number: int, start: int, end: int, said: str, *, diarized: bool) -> dict[str, Any]:
    span = {"start": start / 1000, "end": end / 1000, "text": said}
    if diarized:
        return {"type": "transcript.text.segment", "id": f"seg_{number:03}", **span, "speaker": "A"}
    fits = {"avg_logprob": -0.3, "compression_ratio": 1.2, "no_speech_prob": 0.01}
    return {"id": number, "seek": 0, **span, "tokens": [50364], "temperature": 0.0, **fits}


def _stamp(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{rest:03}"
