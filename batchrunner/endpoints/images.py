"""Images, as Together and OpenAI draw them. An answer points at its files (``url``) or holds them as base64 text."""

from functools import partial
from typing import Annotated, Any, Literal

import msgspec

from batchrunner.core.attempt import Failure, Pending, Reply
from batchrunner.core.continuation import Artifact, Continuation
from batchrunner.core.estimate import tokens
from batchrunner.core.http import HttpReply
from batchrunner.endpoints.answers import Answer, Form, Misshapen, load, read_answer
from batchrunner.endpoints.base import BadBody, Classifier, Facts, Meters, Part
from batchrunner.endpoints.facts import Asked, Text, decode, keys, refuse_repeats
from batchrunner.endpoints.files import MOST_INLINE, decoded, reference, to_fetch
from batchrunner.endpoints.usage import Counted, consumed_and_made

Side = Annotated[int, msgspec.Meta(ge=64, le=8192)]
Size = Annotated[str, msgspec.Meta(pattern="^([1-9][0-9]{1,3}x[1-9][0-9]{1,3}|auto)$")]
DEFAULT_SIDE = 1024
"""Pixels; what Together and OpenAI draw where a body does not say (their API descriptions)."""


class _Body(Asked, gc=False, kw_only=True):
    prompt: Text
    n: Annotated[int, msgspec.Meta(ge=1, le=10)] | None = None
    width: Side | None = None
    height: Side | None = None
    size: Size | None = None
    steps: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    seed: int | None = None
    negative_prompt: str | None = None
    guidance_scale: float | None = None
    guidance: float | None = None
    image_url: str | None = None
    response_format: Literal["url", "base64", "b64_json"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    stream: bool | None = None


class _Image(msgspec.Struct, gc=False):
    url: str | None = None
    b64_json: msgspec.Raw = msgspec.Raw()


class _Images(Answer, gc=False):
    data: list[_Image] | None = None


_BODY = msgspec.json.Decoder(_Body)
_IMAGES = msgspec.json.Decoder(_Images)
_TEXT = msgspec.json.Decoder(str)
_WATCHED = keys("model", "prompt", "n", "width", "height", "size", "steps", "stream")


def _judge(answer: _Images) -> None:
    """Raise Misshapen unless each image is there, as text or by its address."""
    if not answer.data:
        raise Misshapen("it has no images")
    for place, image in enumerate(answer.data):
        if not (image.url or _is_text(image.b64_json)):
            raise Misshapen(f"data[{place}] has neither url nor b64_json")


def _is_text(raw: msgspec.Raw) -> bool:
    view = memoryview(raw)
    return len(view) > len('""') and view[0] == ord('"')


def _count(raw: msgspec.Raw) -> Counted:
    return consumed_and_made(raw, "input_tokens", "output_tokens")


_FORM = Form("a list of images", _IMAGES, _judge, _count)


class Images:
    """Images as Together and OpenAI draw them."""

    path = "/v1/images/generations"
    name = "images"

    def inspect(self, body: bytes) -> Facts:
        """Check model, prompt, numbers and formats; raises BadBody. ``n``: OpenAI allows 10, Together 4 and says so."""
        asked = decode(_BODY, body)
        if asked.stream:
            raise BadBody('images are not streamed here: remove "stream"', "stream")
        if asked.size is not None and (asked.width is not None or asked.height is not None):
            raise BadBody("`size` and `width` or `height` contradict each other: keep one of them", "size")
        refuse_repeats(body, _WATCHED)
        return Facts(asked.model, tokens(asked.prompt.encode()), 0)

    def read(self, reply: HttpReply, classify: Classifier) -> Pending | Failure:
        """Parse an answer of any status. Never raises, whatever the bytes are."""
        outcome = read_answer(reply, classify, _FORM)
        return outcome if isinstance(outcome, Failure) else to_fetch(reply, outcome.request_id)

    def text(self, body: bytes) -> str | None:
        """Return None: images are not text."""
        return None

    def parts(self, continuation: Continuation) -> tuple[Part, ...]:
        """Return the images: what came as text is taken, whether there is an address too or not."""
        return tuple(_part(place, image) for place, image in enumerate(load(_IMAGES, continuation.answer).data or ()))

    def whole(self, continuation: Continuation, artifacts: tuple[Artifact, ...]) -> Reply:
        """Return the reply; base64 text gives way to ``sha256:...`` of the file that it is in."""
        answer = load(_IMAGES, continuation.answer)
        body = continuation.answer
        for image, artifact in zip(answer.data or (), artifacts, strict=True):
            if _is_text(image.b64_json):
                body = body.replace(bytes(image.b64_json), reference(artifact), 1)
        counted = _count(answer.usage)
        model = answer.model if isinstance(answer.model, str) else None
        return Reply(200, body, counted.usage, counted.raw, None, model, continuation.request_id)

    def meters(self, body: bytes, reply: Reply) -> Meters:
        """Return images, width, height and, where the body says, steps: what megapixels are counted by."""
        asked = decode(_BODY, body)
        width, height = asked.width or DEFAULT_SIDE, asked.height or DEFAULT_SIDE
        if asked.size is not None and asked.size != "auto":
            width, height = map(int, asked.size.split("x"))
        made: tuple[tuple[str, Any], ...] = (
            ("images", len(load(_IMAGES, reply.body).data or ())),
            ("width", width),
            ("height", height),
            ("steps", asked.steps),
        )
        return tuple((name, number) for name, number in made if number is not None)


def _part(place: int, image: _Image) -> Part:
    where, name = f"data[{place}]", f"image-{place + 1}"
    if _is_text(image.b64_json):
        return Part(where, name, MOST_INLINE, data=partial(_bytes, image.b64_json))
    return Part(where, name, MOST_INLINE, url=image.url)


def _bytes(raw: msgspec.Raw) -> bytes:
    return decoded(_TEXT.decode(raw))
