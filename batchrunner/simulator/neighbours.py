"""What OpenAI and vLLM have beside what Together has too: responses, moderations, scores, and rerank at other paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from batchrunner.simulator.answers import Work, content_of
from batchrunner.simulator.settings import Settings
from batchrunner.simulator.text import digest_of, fraction
from batchrunner.simulator.vectors import score_of

ROUTES: Final[Mapping[str, tuple[str, str]]] = {
    "/responses": ("POST", "responses"),
    "/moderations": ("POST", "moderations"),
    "/score": ("POST", "score"),
    "/v2/rerank": ("POST", "rerank"),
}
_CATEGORIES: Final = ("harassment", "hate", "illicit", "self-harm", "sexual", "violence")
_VARIANTS: Final = {
    "harassment": ("/threatening",),
    "hate": ("/threatening",),
    "illicit": ("/violent",),
    "self-harm": ("/intent", "/instructions"),
    "sexual": ("/minors",),
    "violence": ("/graphic",),
}


def answer(work: Work, settings: Settings, call_id: str, created: int, echo: str) -> dict[str, Any]:
    """A good answer without its usage."""
    if work.call.endpoint == "responses":
        return _response(work, settings, call_id, created, echo)
    if work.call.endpoint == "moderations":
        return _moderation(work, call_id)
    return _scores(work, call_id, created)


def _response(work: Work, settings: Settings, call_id: str, created: int, echo: str) -> dict[str, Any]:
    """A response: `incomplete` where it met its bound, else `completed`."""
    call, (choice,) = work.call, work.choices
    cut = choice.finish == "length"
    said = {
        "type": "output_text",
        "text": content_of(choice, call, settings, echo),
        "annotations": [],
        "logprobs": [],
    }
    message = {
        "id": f"msg_{call_id.removeprefix('resp_')}",
        "type": "message",
        "role": "assistant",
        "status": "incomplete" if cut else "completed",
        "content": [said],
    }
    return {
        "id": call_id,
        "object": "response",
        "created_at": created,
        "status": "incomplete" if cut else "completed",
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "instructions": call.body.get("instructions"),
        "max_output_tokens": call.max_tokens,
        "model": call.model,
        "output": [message],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": True,
        "temperature": call.body.get("temperature", 1.0),
        "text": call.body.get("text", {"format": {"type": "text"}}),
        "tool_choice": "auto",
        "tools": [],
        "top_p": call.body.get("top_p", 1.0),
        "truncation": "disabled",
        "metadata": {},
    }


def _moderation(work: Work, call_id: str) -> dict[str, Any]:
    """Verdicts: a text that names a category is flagged for it."""
    return {
        "id": call_id,
        "model": work.call.model,
        "results": [_verdict(str(text), work.call.model) for text in work.call.texts],
    }


def _verdict(text: str, model: str) -> dict[str, Any]:
    names = [name + variant for name in _CATEGORIES for variant in ("", *_VARIANTS[name])]
    found = {name: name in text.lower() for name in names}
    scores = {name: round(0.9 if found[name] else 0.1 * fraction(digest_of(model, text, name), 0), 6) for name in names}
    return {
        "flagged": any(found.values()),
        "categories": found,
        "category_scores": scores,
        "category_applied_input_types": {name: ["text"] for name in names},
    }


def _scores(work: Work, call_id: str, created: int) -> dict[str, Any]:
    model = work.call.model
    data = [
        {"index": index, "object": "score", "score": score_of(model, one, other)}
        for index, (one, other) in enumerate(work.call.texts)
    ]
    return {"id": call_id, "object": "list", "created": created, "model": model, "data": data}
