"""Good answers made bad, or odd: what the faults of the body do to them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from batchrunner.simulator.faults import VECTOR_KINDS
from batchrunner.simulator.oddvectors import breaks_json, spoil_vectors

SAME_ID: Final = "the-same-id-for-everybody"
_DEEP: Final = 100_000

ABSURD_LIMITS: Final[Mapping[str, str]] = {
    "x-ratelimit-limit": "0",
    "x-ratelimit-remaining": "-1",
    "x-ratelimit-reset": "1e999",
    "x-tokenlimit-limit": "NaN",
    "x-tokenlimit-remaining": "-99999999999999999999",
    "x-ratelimit-limit-requests": "0",
    "x-ratelimit-remaining-requests": "soon",
    "x-ratelimit-reset-requests": "Thu, 01 Jan 1970 00:00:00 GMT",
    "x-ratelimit-reset-tokens": "999999h",
}
"""Limit headers that nobody should obey."""

_ABSURD_USAGES: Final[tuple[Any, ...]] = (
    {"prompt_tokens": -5, "completion_tokens": -1, "total_tokens": -6},
    {"prompt_tokens": "many", "completion_tokens": [], "total_tokens": None},
    {"prompt_tokens": 1e308, "completion_tokens": 1e308, "total_tokens": 1e308},
    "a lot",
    {"prompt_tokens": 2**63, "completion_tokens": 2**64, "total_tokens": 0},
)


def spoil(answer: dict[str, Any], usage: dict[str, Any] | None, fault: str | None, items: str) -> dict[str, Any] | None:
    """Put `usage` into a good `answer`, changed as `fault` says; return the usage that it then truly carries.

    `items` is the key of the answer's list (`choices`, `data`, `results`).
    """
    if fault in ("not_json", "off_schema", "blank", "cut_off"):
        _write_badly(answer, items, fault)
    elif fault == "no_choices":
        answer[items] = []
    elif fault == "no_finish":
        _forget_the_finish(answer[items])
    elif fault == "same_id":
        answer["id"] = SAME_ID
    elif fault in VECTOR_KINDS:
        spoil_vectors(answer[items], fault)
    if fault in ("no_usage", "null_usage"):
        answer |= {"usage": None} if fault == "null_usage" else {}
        return None
    if fault == "absurd_usage":
        answer["usage"] = _ABSURD_USAGES[len(str(answer)) % len(_ABSURD_USAGES)]
        return None
    if usage is not None:
        answer["usage"] = usage
    return None if breaks_json(answer, fault) else usage


def _forget_the_finish(items: Any) -> None:
    for item in items:
        if isinstance(item, dict):
            item.pop("finish_reason", None)


def _write_badly(answer: dict[str, Any], key: str, fault: str) -> None:
    """Give choices, or a response's messages, texts that were not asked for; their length stays what is billed."""
    if fault == "cut_off" and answer.get("object") == "response":
        answer |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    items = answer[key]
    for item in items if isinstance(items, list) else ():  # a transcript has a text in its place
        place = item["message"] if isinstance(item.get("message"), dict) else item
        content = place.get("content")
        if isinstance(content, list):
            for part in content:
                part["text"] = _worse(part.get("text", ""), fault)
            continue
        field = "content" if "content" in place else "text"
        if field not in place:
            continue
        if fault == "cut_off":
            item["finish_reason"] = "length"
        place[field] = _worse(place[field], fault)


def _worse(text: str, fault: str) -> str:
    if fault == "cut_off":
        return text[: len(text) // 2]
    return {"not_json": "Certainly! Here you are.", "off_schema": '{"unasked": [1, 2]}'}.get(fault, "")


def ruined_body(fault: str | None, body: bytes) -> bytes:
    """The bytes that leave in place of a good body."""
    if fault == "truncated_json":
        return body[: len(body) * 2 // 3]
    if fault == "odd_json":
        odd = b'{"odd":["\\ud83d","\\u0000",' + b"9" * 5000 + b',{"a":1,"a":2}],'
        return odd + body.removeprefix(b"{")
    if fault == "deep200":
        return b"[" * _DEEP + b"]" * _DEEP
    return {"empty200": b"", "null200": b"null", "array200": b"[" + body + b"]"}.get(fault or "", body)
