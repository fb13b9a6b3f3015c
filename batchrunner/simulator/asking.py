"""Reading what a client asks: of pictures, speech and videos here, the rest by those who know how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from batchrunner.simulator import transcripts
from batchrunner.simulator.bill import Units
from batchrunner.simulator.calls import Call, Endpoint, Reader, paints_by_token, read_call
from batchrunner.simulator.errors import Refusal
from batchrunner.simulator.files import TYPES
from batchrunner.simulator.packs import read_embedding
from batchrunner.simulator.settings import Settings
from batchrunner.simulator.text import tokens_of
from batchrunner.simulator.verdicts import Arrival

_SIZE: Final = re.compile(r"([1-9]\d{1,3})x([1-9]\d{1,3})")
_IMAGE_TOKENS: Final = 272
"""Output tokens that OpenAI counts for a small picture."""
_SPOKEN: Final = frozenset({"wav", "mp3", "raw", "pcm"})


def is_form(arrival: Arrival) -> bool:
    """Whether what is asked comes as a form, with a file in it."""
    return arrival.route in transcripts.ROUTES


def read(arrival: Arrival, endpoint: Endpoint, settings: Settings) -> Call | Refusal:
    """Judge what came as the provider would."""
    if is_form(arrival):
        kind = arrival.headers.get("content-type", "")
        return transcripts.read_form(endpoint, kind, arrival.body, settings)
    return read_call(endpoint, arrival.body, settings, READERS)


def read_image(model: str, body: dict[str, Any], settings: Settings) -> Call | Refusal:
    """`POST /v1/images/generations`."""
    together = settings.flavour == "together"
    prompt, n = body.get("prompt"), body.get("n")
    n = 1 if n is None else n
    if not isinstance(prompt, str) or not prompt:
        return Refusal(400, "'prompt' must be a text", param="prompt")
    if not _within(n, 1, 4 if together else 10):
        return Refusal(400, f"'n' must be an integer from 1 to {4 if together else 10}", param="n")
    size = _size(body, together=together)
    if isinstance(size, Refusal):
        return size
    forms = ("base64", "url") if together else ("b64_json", "url")
    if body.get("response_format") not in (None, *forms):
        return Refusal(400, f"'response_format' must be one of {', '.join(forms)}", param="response_format")
    return Call(
        endpoint="images",
        model=model,
        body=body,
        texts=(),
        input_tokens=tokens_of(prompt),
        fixed_output=n * _IMAGE_TOKENS if paints_by_token(model) else 0,
        units=Units(images=n, width=size[0], height=size[1], steps=body.get("steps") or 0),
    )


def _size(body: dict[str, Any], *, together: bool) -> tuple[int, int] | Refusal:
    if not together:
        found = _SIZE.fullmatch(body.get("size") or "1024x1024")
        if found is None and body.get("size") != "auto":
            return Refusal(400, "'size' must be such as 1024x1024", param="size")
        return (1024, 1024) if found is None else (int(found[1]), int(found[2]))
    sides = [1024 if body.get(name) is None else body[name] for name in ("width", "height")]
    for name, side in zip(("width", "height"), sides, strict=True):
        if not _within(side, 64, 1920) or side % 8:
            return Refusal(400, f"'{name}' must be a multiple of 8 from 64 to 1920", param=name)
    return sides[0], sides[1]


def read_speech(model: str, body: dict[str, Any], settings: Settings) -> Call | Refusal:
    """`POST /v1/audio/speech`. Formats that are not made here are refused with a word of ours."""
    text, voice = body.get("input"), body.get("voice")
    if not isinstance(text, str) or not text:
        return Refusal(400, "'input' must be a text", param="input")
    if settings.flavour == "openai" and len(text) > 4096:
        return Refusal(400, "'input' has more than 4096 characters", param="input")
    if not isinstance(voice, str) or not voice:
        return Refusal(400, "'voice' must be the name of a voice", param="voice")
    if body.get("stream"):
        return Refusal(400, "Streaming is not supported by this simulator; leave 'stream' out.", param="stream")
    form = body.get("response_format") or ("wav" if settings.flavour == "together" else "mp3")
    if form not in _SPOKEN or form not in TYPES:
        return Refusal(400, f"This simulator speaks {', '.join(sorted(_SPOKEN))} only.", param="response_format")
    return Call(
        endpoint="speech",
        model=model,
        body={**body, "response_format": form},
        texts=(),
        input_tokens=tokens_of(text),
        units=Units(characters=len(text)),
    )


def read_video(model: str, body: dict[str, Any], settings: Settings) -> Call | Refusal:
    """`POST /v2/videos`."""
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not 1 <= len(prompt) <= 32_000:
        return Refusal(400, "'prompt' must be a text of 1 to 32000 characters", param="prompt")
    seconds = body.get("seconds")
    if seconds is not None and not (isinstance(seconds, str) and seconds.isdecimal()):
        return Refusal(400, "'seconds' must be a text such as \"5\"", param="seconds")
    if body.get("steps") is not None and not _within(body["steps"], 10, 50):
        return Refusal(400, "'steps' must be an integer from 10 to 50", param="steps")
    return Call(
        endpoint="videos",
        model=model,
        body=body,
        texts=(),
        input_tokens=tokens_of(prompt),
        units=Units(stated_usd=str(settings.video_cost)),
    )


def _within(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


READERS: Final[Mapping[str, Reader]] = {
    "embeddings": read_embedding,
    "images": read_image,
    "speech": read_speech,
    "videos": read_video,
}
