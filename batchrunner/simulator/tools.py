"""Tool calls: which of the offered tools a chat calls, and with what. Deterministic: no dice of its own."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from batchrunner.simulator.calls import Call

_MOST_DEEP: Final = 6


def called(call: Call, digest: bytes, text: str) -> list[dict[str, Any]]:
    """The tool calls that answer a chat, none where it gets a text; `text` stands wherever an argument is a string.

    A tool is called when some are offered and not forbidden, unless the last message is a tool's own answer. Two are
    called where that is `required` and several are offered, unless `parallel_tool_calls` is false.
    """
    names = _chosen(call)
    if not names:
        return []
    return [
        {
            "id": f"call_{digest[place : place + 12].hex()}",
            "type": "function",
            "function": {"name": name, "arguments": msgspec.json.encode(_value(schema, text, 0)).decode()},
        }
        for place, (name, schema) in enumerate(names)
    ]


def _chosen(call: Call) -> list[tuple[str, Any]]:
    body = call.body
    tools = body.get("tools")
    offered = [
        (function["name"], function.get("parameters", {}))
        for tool in (tools if isinstance(tools, list) else ())
        if isinstance(tool, dict) and isinstance(function := tool.get("function"), dict) and "name" in function
    ]
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        wanted = (choice.get("function") or {}).get("name")
        return [one for one in offered if one[0] == wanted][:1]
    if choice == "required":
        return offered[: 1 if body.get("parallel_tool_calls") is False else 2]
    last = body["messages"][-1]
    return [] if choice == "none" or last.get("role") == "tool" else offered[:1]


def _value(schema: Any, text: str, depth: int) -> Any:
    """A value that fits a simple JSON schema."""
    if not isinstance(schema, dict) or depth > _MOST_DEEP:
        return {}
    if schema.get("enum"):
        return schema["enum"][0]
    parts = schema.get("properties", {})
    plain = {"string": text, "integer": 7, "number": 1.5, "boolean": True, "array": [], "null": None}
    if schema.get("type") in plain:
        return plain[schema["type"]]
    return {name: _value(part, text, depth + 1) for name, part in parts.items()}
