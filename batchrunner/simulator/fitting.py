"""JSON that has the form a request asked for: a value that is valid against most of the schemas that people write."""

from __future__ import annotations

from typing import Any, Final

import msgspec

_DEEP: Final = 12
"""Levels below which only what must be there is made."""


def format_of(body: dict[str, Any]) -> dict[str, Any]:
    """The format that a body asks its answer to have; empty where it asks for none."""
    text = body.get("text")
    wanted = text.get("format") if isinstance(text, dict) else body.get("response_format")
    return wanted if isinstance(wanted, dict) else {}


def schema_of(wanted: Any) -> dict[str, Any] | None:
    """The schema in a `response_format`, in OpenAI's or in Together's place for it; None where there is none."""
    if not isinstance(wanted, dict):
        return None
    inner = wanted.get("json_schema")
    found = inner.get("schema") if isinstance(inner, dict) else wanted.get("schema")
    return found if isinstance(found, dict) else None


def fitting(schema: dict[str, Any], text: str) -> str:
    """JSON that fits `schema`, with `text` wherever any text will do."""
    return msgspec.json.encode(_value(schema, schema, text, 0)).decode()


def _value(schema: Any, root: dict[str, Any], text: str, depth: int) -> Any:
    if not isinstance(schema, dict):
        return text
    fixed = [schema["const"]] if "const" in schema else schema.get("enum")
    if fixed:
        return fixed[0]
    inner = _inner(schema, root)
    if inner is not None and depth < 4 * _DEEP:
        return _value(inner, root, text, depth + 1)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object" or "properties" in schema:
        return _object(schema, root, text, depth)
    if kind == "array":
        number = schema.get("minItems", 1 if depth < _DEEP else 0)
        return [_value(schema.get("items", {}), root, text, depth + 1) for _ in range(number)]
    least = schema.get("minimum", schema.get("maximum", 7))
    return {"integer": least, "number": least, "boolean": True, "null": None}.get(str(kind), _text(schema, text))


def _inner(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """What a schema stands for: what it refers to, or the first of several."""
    ref = schema.get("$ref")
    if isinstance(ref, str) and ref.startswith("#"):
        node: Any = root
        for part in filter(None, ref[1:].split("/")):
            node = node.get(part) if isinstance(node, dict) else None
        return node
    return next((schema[word][0] for word in ("anyOf", "oneOf", "allOf") if schema.get(word)), None)


def _object(schema: dict[str, Any], root: dict[str, Any], text: str, depth: int) -> dict[str, Any]:
    parts = schema.get("properties", {})
    names = parts if depth < _DEEP else schema.get("required", ())
    return {name: _value(parts.get(name, {}), root, text, depth + 1) for name in names}


def _text(schema: dict[str, Any], text: str) -> str:
    most = schema.get("maxLength")
    return text if most is None else text[:most]
