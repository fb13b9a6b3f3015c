"""Replies as a transport would bring them back, and the three classifiers to read them with."""

import json
from typing import Any

from batchrunner.core.http import HttpReply
from batchrunner.endpoints.quirks import GENERIC, OPENAI, TOGETHER
from batchrunner.endpoints.refusals import classifier

RECEIVED = 1_760_000_000_000_000
together, openai, generic = classifier(TOGETHER), classifier(OPENAI), classifier(GENERIC)


def reply(body: Any, status: int = 200, **headers: str) -> HttpReply:
    """A reply with this body (bytes as they are, anything else as JSON); ``x_request_id`` becomes ``x-request-id``."""
    named = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply(status, named, body if isinstance(body, bytes) else json.dumps(body).encode(), RECEIVED)


def chat_answer(**changes: Any) -> dict[str, Any]:
    """A good chat answer, with some of its top-level keys changed."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    return {"id": "o1", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage} | changes
