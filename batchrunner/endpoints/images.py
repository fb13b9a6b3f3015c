"""Images, as Together and OpenAI draw them. An answer points at its files (``url``) or holds them as base64 text."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec

from batchrunner.core.attempt import Failure, Pending, Reply
from batchrunner.core.continuation import Artifact, Continuation
from batchrunner.core.estimate import tokens
from batchrunner.core.http import HttpReply
from batchrunner.core.usage import Usage
from batchrunner.endpoints.answers import Answer, Form, Misshapen, load, read_answer
from batchrunner.endpoints.base import BadBody, Classifier, Facts, Part
from batchrunner.endpoints.facts import Asked, Text, decode, keys, refuse_repeats
from batchrunner.endpoints.files import MOST_INLINE, decoded, reference, to_fetch
from batchrunner.endpoints.rules import NAME, SWITCH, TEXT, Rule, fields, list_of, number, one_of, simple, whole
from batchrunner.endpoints.units import pictures
from batchrunner.endpoints.usage import itemized

Side = Annotated[int, msgspec.Meta(ge=64, le=8192)]
Size = Annotated[
    str,
    msgspec.Meta(
        pattern="^([1-9][0-9]{1,3}x[1-9][0-9]{1,3}|auto)$", description='a size such as "1024x1024", or "auto"'
    ),
]


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
_OBJECT = msgspec.json.Decoder(dict[str, Any])
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


_FORM = Form("a list of images", _IMAGES, _judge, itemized)

_SIDE: Final = simple(
    "a multiple of 8 from 256 to 1920", lambda value: type(value) is int and 256 <= value <= 1920 and value % 8 == 0
)
_LINK: Final = simple(
    "an https:// or a data: URL",
    lambda value: type(value) is str and value.startswith(("https://", "http://", "data:")),
)
_RULES: Final[Mapping[str, Rule]] = {
    "model": NAME,
    "prompt": NAME,
    "n": whole(1, 10),
    "width": _SIDE,
    "height": _SIDE,
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


class Images:
    """Images as Together and OpenAI draw them."""

    path = "/v1/images/generations"
    name = "images"
    streams = False
    rules = _RULES

    def inspect(self, body: bytes) -> Facts:
        """Check model, prompt, numbers and formats; raises BadBody. ``n``: OpenAI allows 10, Together 4 and says so.

        How many tokens a picture will be is nobody's to say: where it is billed by them there is no bound.
        """
        asked = decode(_BODY, body)
        if asked.stream:
            raise BadBody('images are not streamed here: remove "stream"', "stream")
        if asked.size is not None and (asked.width is not None or asked.height is not None):
            raise BadBody("`size` and `width` or `height` contradict each other: keep one of them", "size")
        refuse_repeats(body, _WATCHED)
        return Facts(asked.model, tokens(asked.prompt.encode()), None, pictures(_OBJECT.decode(body)))

    def feed(self, body: bytes) -> None:
        """Return None: pictures come whole."""

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
        """Return the reply; base64 text gives way to ``sha256:...`` of the file that it is in.

        Where it counts no tokens its pictures are counted: the ones that came are the ones that cost.
        """
        answer = load(_IMAGES, continuation.answer)
        body = continuation.answer
        for image, artifact in zip(answer.data or (), artifacts, strict=True):
            if _is_text(image.b64_json):
                body = body.replace(bytes(image.b64_json), reference(artifact), 1)
        counted = itemized(answer.usage)
        usage = counted.usage or Usage(images=len(artifacts))
        model = answer.model if isinstance(answer.model, str) else None
        return Reply(200, body, usage, counted.raw, None, model, continuation.request_id)


def _part(place: int, image: _Image) -> Part:
    where, name = f"data[{place}]", f"image-{place + 1}"
    if _is_text(image.b64_json):
        return Part(where, name, MOST_INLINE, data=partial(_bytes, image.b64_json))
    return Part(where, name, MOST_INLINE, url=image.url)


def _bytes(raw: msgspec.Raw) -> bytes:
    return decoded(_TEXT.decode(raw))
