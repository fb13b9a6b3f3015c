"""What the endpoints whose answers are files share: the shape of what is stored instead of the bytes."""

import base64
import binascii
from typing import Any

import msgspec

from batchrunner.core.attempt import Pending
from batchrunner.core.continuation import Artifact, Continuation, Step
from batchrunner.core.http import HttpReply

MOST_INLINE = 64 << 20
"""Bytes of a file that is taken out of an answer, or of a picture that one points at."""


def to_fetch(reply: HttpReply, request_id: str | None) -> Pending:
    """Return an answer that is whole but for its files."""
    kind = reply.headers.get("content-type", "")
    return Pending(Continuation(Step.FETCH, "", reply.body, kind, request_id, reply.received), reply.received)


def described(artifact: Artifact) -> dict[str, Any]:
    """Return a file as results tell of it."""
    return artifact._asdict()


def reference(artifact: Artifact) -> bytes:
    """Return the JSON string that stands where the bytes of a file stood as text."""
    return msgspec.json.encode(f"sha256:{artifact.sha256}")


def decoded(text: str) -> bytes:
    """Return the bytes that base64 text holds, with or without the head of a data URL. Raises ValueError."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"it is not base64 ({error})") from None
    if not data:
        raise ValueError("it is empty")
    return data
