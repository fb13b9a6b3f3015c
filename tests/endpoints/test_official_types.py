"""The official packages' own types accept what streams are put together to, and it is what comes without a stream."""

import json
from typing import Any

import openai.types
import pytest
import together.types
import together.types.chat

from batchrunner.endpoints.registry import BY_PATH
from batchrunner.simulator import Provider, Settings

TOOLS = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("weather", "time")]
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "q"}]}),
    "tools": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "q"}], "tools": TOOLS, "tool_choice": "required", "n": 2},
    ),
    "completions": ("/v1/completions", {"prompt": "q", "n": 2}),
}
TYPES: dict[tuple[str, str], Any] = {
    ("openai", "/v1/chat/completions"): openai.types.chat.ChatCompletion,
    ("openai", "/v1/completions"): openai.types.Completion,
    ("together", "/v1/chat/completions"): together.types.chat.ChatCompletion,
    ("together", "/v1/completions"): together.types.Completion,
}


def without_what_differs(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer without the marks of its call, and without the empty keys that streams have no event for."""
    kept = {key: value for key, value in answer.items() if key not in ("id", "system_fingerprint")}
    for choice in kept["choices"]:
        message = choice.get("message", {})
        if not message.get("tool_calls"):
            message.pop("tool_calls", None)
        for call in message.get("tool_calls", []):
            call.pop("index", None)
        message.pop("annotations", None)
    return kept


@pytest.mark.parametrize("flavour", ["together", "openai"])
@pytest.mark.parametrize("name", ASKED)
def test_a_stream_gives_the_answer_that_comes_without_one_and_the_packages_take_it(flavour, name):
    path, asked = ASKED[name]
    provider = Provider(Settings(flavour=flavour, echo=False), wall=lambda: 1.0)
    body = {"model": "m", "max_tokens": 12, **asked}
    streamed = json.dumps(body | {"stream": True, "stream_options": {"include_usage": True}}).encode()
    headers = {"authorization": "Bearer k"}
    plain = json.loads(provider.handle("POST", path, headers, json.dumps(body).encode()).body)
    feed = BY_PATH[path].feed(streamed)
    assert feed is not None
    for piece in provider.handle("POST", path, headers, streamed).pieces:
        feed.take(piece)
    whole = json.loads(feed.whole())
    TYPES[flavour, path].model_validate(json.loads(feed.whole()))
    assert without_what_differs(whole) == without_what_differs(plain)
