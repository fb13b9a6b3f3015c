"""Text to speech. The answer is the sound itself, as bytes of some audio format."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal, NoReturn

import msgspec

from batchrunner.core.attempt import Failure, Pending, Reply
from batchrunner.core.continuation import Artifact, Continuation
from batchrunner.core.estimate import tokens
from batchrunner.core.http import HttpReply
from batchrunner.endpoints.answers import Answer, Form, Misshapen, read_answer, request_id
from batchrunner.endpoints.base import BadBody, Classifier, Facts, Part
from batchrunner.endpoints.facts import Asked, Text, decode, keys, refuse_repeats
from batchrunner.endpoints.files import MOST_INLINE, described, to_fetch
from batchrunner.endpoints.rules import NAME, OBJECT, SWITCH, TEXT, Rule, either, number, one_of, whole
from batchrunner.endpoints.units import spoken
from batchrunner.endpoints.usage import NOT_COUNTED, Counted

_SOUND = ("audio/", "application/octet-stream", "binary/octet-stream")
"""Content types of sound; a 200 of another is an error of the provider, or a page of something in front of it."""


class _Body(Asked, gc=False, kw_only=True):
    input: Text
    voice: Text | dict[str, Any]
    response_format: Literal["mp3", "wav", "raw", "opus", "aac", "flac", "pcm", "mulaw"] | None = None
    response_encoding: Literal["pcm_f32le", "pcm_s16le", "pcm_mulaw", "pcm_alaw"] | None = None
    language: str | None = None
    sample_rate: Annotated[int, msgspec.Meta(ge=1_000, le=384_000)] | None = None
    bit_rate: Annotated[int, msgspec.Meta(ge=1)] | None = None
    speed: Annotated[float, msgspec.Meta(ge=0.25, le=4)] | None = None
    instructions: str | None = None
    stream: bool | None = None
    stream_format: str | None = None


_BODY = msgspec.json.Decoder(_Body)
_WATCHED = keys("model", "input", "voice", "stream", "stream_format")


def _refuse(_: Answer) -> NoReturn:
    raise Misshapen("it has no sound")


def _nothing(_: msgspec.Raw) -> Counted:
    return NOT_COUNTED


_INSTEAD = Form("speech", msgspec.json.Decoder(Answer), _refuse, _nothing)

_RULES: Final[Mapping[str, Rule]] = {
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


class Speech:
    """Text to speech as Together and OpenAI speak it."""

    path = "/v1/audio/speech"
    name = "speech"
    streams = False
    rules = _RULES

    def inspect(self, body: bytes) -> Facts:
        """Check model, input, voice, formats and ranges; raises BadBody."""
        asked = decode(_BODY, body)
        for name, wish in (("stream", asked.stream), ("stream_format", asked.stream_format == "sse")):
            if wish:
                raise BadBody(
                    f'speech is kept as one file, and its pieces would only be put together again: remove "{name}"',
                    name,
                )
        refuse_repeats(body, _WATCHED)
        return Facts(asked.model, tokens(asked.input.encode()), 0, spoken(asked.input))

    def feed(self, body: bytes) -> None:
        """Return None: sound comes whole."""

    def read(self, reply: HttpReply, classify: Classifier) -> Pending | Failure:
        """Take an answer of any status. Never raises, whatever the bytes are."""
        if reply.status != 200:
            return classify(reply)
        kind = reply.headers.get("content-type", "").strip().lower()
        if not kind.startswith(_SOUND) or not reply.body:
            return _said_instead(reply, classify)
        return to_fetch(reply, request_id(None, reply.headers))

    def text(self, body: bytes) -> str | None:
        """Return None: sound is not text."""
        return None

    def parts(self, continuation: Continuation) -> tuple[Part, ...]:
        """Return the sound."""
        return (Part("body", "speech", MOST_INLINE, data=partial(bytes, continuation.answer)),)

    def whole(self, continuation: Continuation, artifacts: tuple[Artifact, ...]) -> Reply:
        """Return the reply: its body is JSON of our own, since nothing but the sound came."""
        body = msgspec.json.encode({"batchrunner": {"artifacts": [described(artifact) for artifact in artifacts]}})
        return Reply(200, body, None, None, None, None, continuation.request_id)


def _said_instead(reply: HttpReply, classify: Classifier) -> Failure:
    """Say what came with a 200 instead of sound: an error of the provider, or a page."""
    outcome = read_answer(reply, classify, _INSTEAD)
    if isinstance(outcome, Failure):
        return outcome
    raise TypeError("what is no sound was taken for an answer")
