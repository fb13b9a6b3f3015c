"""Packs of a corpus as bodies of embedding calls, and their answers as vectors: float32 bytes, never text."""

import math
import re
import struct
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import msgspec

from batchrunner.core.attempt import Failure, FailureKind, Outcome, Reply
from batchrunner.core.corpus import Half, Vectors
from batchrunner.core.estimate import tokens
from batchrunner.core.http import HttpReply
from batchrunner.core.vectors import FLOAT
from batchrunner.endpoints.answers import Answer, Form, Misshapen, read_answer
from batchrunner.endpoints.base import Classifier
from batchrunner.endpoints.usage import Counted, consumed

PATH: Final = "/v1/embeddings"
_INPUT: Final = b'"input":['
_BASE64: Final = b'"encoding_format":"base64",'
_ABOUT_BASE64: Final = re.compile(r"encoding_format|base64", re.IGNORECASE)
_DIMENSIONS: Final = b'"dimensions":'
_ABOUT_DIMENSIONS: Final = re.compile(r"\bdimensions?\b|matryoshka", re.IGNORECASE)
_ABOUT_MODEL: Final = re.compile(
    r"(?:invalid|unknown|unsupported|no such) model\b|\bmodel\b[^.]{0,120}"
    r"(?:does not exist|not found|is not an? embedding|(?:not|n't) support(?:ed)?(?: for)? embeddings?)",
    re.IGNORECASE,
)
_HUGE: Final = (b"\x7f", b"\xff")


class _Vector(msgspec.Struct, gc=False):
    index: int | None = None
    embedding: bytes | list[float] = b""  # as bytes it is read from base64, in half the time of `a2b_base64`


class _Vectors(Answer, gc=False):
    data: list[_Vector] = msgspec.field(default_factory=list)


class _Pack(msgspec.Struct, gc=False):
    input: list[msgspec.Raw]


class _Error(msgspec.Struct, gc=False):
    param: str | None = None


class _Refused(msgspec.Struct, gc=False):
    error: _Error | None = None


_REFUSED: Final = msgspec.json.Decoder(_Refused)
_DECODER: Final = msgspec.json.Decoder(_Vectors)
_PACK: Final = msgspec.json.Decoder(_Pack)

NO_DIMENSIONS: Final = "Every text asks for these dimensions: leave --dimensions out, or ask for fewer."
NO_FORM: Final = "Every text asks for a form of vectors that is not given here, base64 and numbers alike."


def text_bytes(text: str) -> bytes:
    """Return a text as it stands in a pack's body; half a surrogate pair, which no JSON can hold, becomes ``?``."""
    try:
        return msgspec.json.encode(text)
    except UnicodeEncodeError:
        return msgspec.json.encode(text.encode("utf-8", "replace").decode())


def pack_head(model: str, dimensions: int | None) -> bytes:
    """Return how the bodies of a corpus begin. Vectors are asked for as base64, a fifth of the cost of JSON."""
    size = b"" if dimensions is None else b'"dimensions":%d,' % dimensions
    return b'{"model":' + msgspec.json.encode(model) + b"," + _BASE64 + size + _INPUT


def pack_body(head: bytes, texts: Sequence[bytes]) -> bytes:
    """Return the body of a pack, from what ``pack_head`` and ``text_bytes`` returned."""
    return head + b",".join(texts) + b"]}"


def halves(body: bytes) -> tuple[Half, Half] | None:
    """Return the two halves of a pack; None for a pack of one."""
    texts = [bytes(text) for text in _PACK.decode(body).input]
    if len(texts) < 2:
        return None
    head, middle = body[: body.index(_INPUT) + len(_INPUT)], (len(texts) + 1) // 2
    return _half(head, texts[:middle]), _half(head, texts[middle:])


def _half(head: bytes, texts: Sequence[bytes]) -> Half:
    return Half(pack_body(head, texts), sum(map(tokens, texts)), len(texts))


def in_floats(body: bytes) -> bytes:
    """Return a pack's body that asks for vectors in the format's default form, as JSON numbers."""
    return body.replace(_BASE64, b"", 1)  # before the texts: within one its quotes would be escaped


def refuses_base64(body: bytes, failure: Failure) -> bool:
    """Whether a pack was refused because it asked for base64."""
    if failure.kind is not FailureKind.INVALID_REQUEST or failure.status not in (400, 422):
        return False
    if _BASE64 not in body[: body.find(_INPUT)]:
        return False
    return _ABOUT_BASE64.search(failure.message) is not None or _param(failure.body) == "encoding_format"


def shared_fault(body: bytes, failure: Failure) -> Failure | None:
    """Return a refusal as one of what all packs of a corpus ask for; None where it may be about a text.

    The provider's ``param`` decides, else its words. A form of vectors is at fault where both forms are refused.
    Only good as long as nothing was ever embedded with the same parameters: a message may quote a text.
    """
    if failure.kind is not FailureKind.INVALID_REQUEST or failure.status not in (400, 422):
        return None
    head, said = body[: body.find(_INPUT)], _param(failure.body)
    if said is not None and said not in ("dimensions", "encoding_format", "model"):
        return None
    if _DIMENSIONS in head and (said == "dimensions" or (said is None and _ABOUT_DIMENSIONS.search(failure.message))):
        return failure._replace(kind=FailureKind.MISCONFIGURED, message=f"{failure.message} {NO_DIMENSIONS}")
    if said == "encoding_format" or (said is None and "encoding_format" in failure.message):
        return failure._replace(kind=FailureKind.MISCONFIGURED, message=f"{failure.message} {NO_FORM}")
    if said == "model" or (said is None and _ABOUT_MODEL.search(failure.message)):
        return failure._replace(kind=FailureKind.MODEL_UNAVAILABLE)
    return None


def _param(body: bytes) -> str | None:
    """Return the parameter that a refusal is about, as OpenAI and those who follow it name it; None: it does not."""
    try:
        found = _REFUSED.decode(body).error
    except msgspec.DecodeError:
        return None
    return found.param if found is not None else None


def read_vectors(
    reply: HttpReply, classify: Classifier, body: bytes, *, dimensions: int | None, normalize: bool = False
) -> Outcome:
    """Parse the answer to a pack, of any status. Never raises, whatever the bytes are.

    A good one is a Reply without a body that holds a vector for each text of ``body``, in their order. A wrong number
    of vectors, an index that is wrong or comes twice, another length than ``dimensions`` or than the other vectors',
    and what is no number (NaN, infinity) make it a ``bad_reply``.
    """
    found: list[Vectors] = []

    def judge(answer: _Vectors) -> None:
        found.append(_vectors(answer.data, len(_PACK.decode(body).input), dimensions))

    outcome = read_answer(reply, classify, Form("a vector for each text", _DECODER, judge, _count))
    if not isinstance(outcome, Reply):
        return outcome
    vectors = found[0]
    if normalize:
        vectors = vectors._replace(data=normalized(vectors.data, vectors.dimensions))
    return outcome._replace(body=b"", vectors=vectors)


def _count(raw: msgspec.Raw) -> Counted:
    return consumed(raw, "prompt_tokens", "total_tokens")


def _vectors(data: Sequence[_Vector], texts: int, dimensions: int | None) -> Vectors:
    """Raise Misshapen unless this is one vector for each text."""
    if len(data) != texts:
        raise Misshapen(f"it holds {len(data)} vectors for {texts} texts")
    parts = [_floats(item.embedding) for item in _in_order(data)]
    size = len(parts[0])
    wanted = size if dimensions is None else dimensions * FLOAT
    odd = next((part for part in parts if len(part) != wanted), None)
    if odd is not None or not size:
        length = len(odd or b"") // FLOAT
        raise Misshapen(f"a vector has {length} dimensions, and {wanted // FLOAT or 'more'} are expected")
    joined = b"".join(parts)
    if not _is_finite(joined):
        raise Misshapen("a vector holds NaN or infinity")
    return Vectors(joined, size // FLOAT, texts)


def _in_order(data: Sequence[_Vector]) -> list[_Vector]:
    """Return the vectors by index; where no vector has one, their order is taken for that of the texts."""
    indexes = [item.index for item in data]
    expected = list(range(len(data)))
    if indexes == expected or indexes.count(None) == len(indexes):
        return list(data)
    placed = {index: item for index, item in zip(indexes, data, strict=True) if index is not None}
    if sorted(placed) != expected:
        raise Misshapen("its indexes are not those of the texts, each once")
    return [placed[index] for index in expected]


def _floats(embedding: bytes | list[float]) -> bytes:
    """Return one vector as float32, little-endian."""
    if isinstance(embedding, bytes):
        if len(embedding) % FLOAT:
            raise Misshapen("a vector in base64 is not made of float32")
        return embedding
    try:
        return struct.pack(f"<{len(embedding)}f", *embedding)  # half of what `array` takes, and less than numpy
    except OverflowError:
        raise Misshapen("a vector holds what is no float32, as NaN or infinity are none") from None


def _is_finite(data: bytes) -> bool:
    """Whether no number among float32 is NaN or infinite.

    All of these have a highest byte of 0x7f or 0xff, as only numbers beyond 1e38 have otherwise: the exact look, which
    costs a hundred times as much, is hardly ever taken.
    """
    highest = data[3::4]
    if not any(byte in highest for byte in _HUGE):
        return True
    return all(map(math.isfinite, struct.unpack(f"<{len(data) // FLOAT}f", data)))


def normalized(data: bytes, dimensions: int) -> bytes:
    """Return vectors brought to length 1, computed in double precision; those of length 0 stay as they are."""
    numpy = _numpy()
    if numpy is None:
        return b"".join(
            _unit(struct.unpack_from(f"<{dimensions}f", data, start))
            for start in range(0, len(data), dimensions * FLOAT)
        )
    vectors = numpy.frombuffer(data, "<f4").reshape(-1, dimensions).astype("f8")
    lengths = numpy.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    lengths[lengths == 0] = 1
    result: bytes = (vectors / lengths).astype("<f4").tobytes()
    return result


def _unit(vector: Sequence[float]) -> bytes:
    length = math.sqrt(math.fsum(number * number for number in vector)) or 1.0
    return struct.pack(f"<{len(vector)}f", *(number / length for number in vector))


@cache
def _numpy() -> Any:
    """Return numpy where the extra ``data`` is installed: it makes this 50 times as fast."""
    try:
        import numpy
    except ImportError:
        return None
    return numpy
