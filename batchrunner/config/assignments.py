"""``KEY=VALUE`` arguments: tags, and settings that change every body of a job."""

import json
import re
from typing import Final, NoReturn

from batchrunner.config.units import shown

_TAG_KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SETTING_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_LONGEST_TAG: Final = 256
_LONGEST_SETTING: Final = 65_536

_NOT_SETTINGS: Final = {
    "model": "use --model NAME",
    "stream": "use --stream",
    "messages": "it is what a line is about; put it into the job file",
    "prompt": "it is what a line is about; put it into the job file",
    "input": "it is what a line is about; put it into the job file",
    "query": "it is what a line is about; put it into the job file",
    "documents": "it is what a line is about; put it into the job file",
}
_NEARLY_JSON: Final = {"True": "true", "False": "false", "None": "null", "NaN": "null"}


def parse_tag(text: str) -> tuple[str, str]:
    """Read ``KEY=VALUE`` of ``--tag``. Raises ValueError with an example."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{shown(text)} has no '='; write KEY=VALUE, such as team=research")
    return check_tag(key.strip(), value.strip())


def check_tag(key: str, value: object) -> tuple[str, str]:
    """Check a tag, wherever it comes from. Raises ValueError with an example."""
    if not _TAG_KEY.fullmatch(key):
        raise ValueError(
            f"the tag name {shown(key)} must be 1 to 64 letters, digits, '_', '.' or '-'; such as team=research"
        )
    if not isinstance(value, str):
        raise ValueError(f"the tag {key!r} must be text; such as {key} = {json.dumps(str(value))}")
    if not value or len(value) > _LONGEST_TAG or not value.isprintable():
        raise ValueError(
            f"the value of tag {key!r} must be 1 to {_LONGEST_TAG} printable characters; such as {key}=research"
        )
    return key, value


def parse_setting(text: str) -> tuple[str, str]:
    """Read ``KEY=JSON`` (or ``KEY=bare words``) of ``--set``; return the key and JSON text that is valid and strict.

    JSON is kept as it was typed. What is neither JSON nor clearly a string is refused: sent on as a string, ``4k`` or
    ``True`` would be refused by the provider, once for each row.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{shown(text)} has no '='; write KEY=VALUE, such as max_tokens=512")
    key, value = key.strip(), value.strip()
    return check_setting_key(key), _as_json(key, value)


def check_setting_key(key: str) -> str:
    """Check the name of a body's key that ``--set`` may change. Raises ValueError that says where it belongs."""
    if not _SETTING_KEY.fullmatch(key):
        raise ValueError(f"{shown(key)} is not the name of a request field; write KEY=VALUE, such as max_tokens=512")
    if key in _NOT_SETTINGS:
        raise ValueError(f"{key!r} can't be set here: {_NOT_SETTINGS[key]}")
    return key


def check_json(key: str, text: str) -> str:
    """Check that ``text`` is strict JSON. Raises ValueError."""
    if len(text) > _LONGEST_SETTING:
        raise ValueError(
            f"the value of {key!r} is longer than {_LONGEST_SETTING:,} characters; put it into the job file"
        )
    try:
        text.encode("utf-8")
        json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_no_repeats)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the value of {key!r} is not valid JSON ({_reason(error)}); such as {key}=512") from None
    return text


def _as_json(key: str, value: str) -> str:
    if not value:
        raise ValueError(f"{key!r} has no value; write {key}=512, or {key}='\"\"' for an empty string")
    if value in _NEARLY_JSON:
        raise ValueError(f"{value} is not JSON; write {key}={_NEARLY_JSON[value]}, or {key}='\"{value}\"' for a string")
    if value[0] in '{["' or value in ("true", "false", "null"):
        return check_json(key, value)
    if value[0] in "+-.0123456789":
        try:
            return check_json(key, value)
        except ValueError:
            raise ValueError(
                f"{shown(value)} is not a JSON number; write it out, such as {key}=4000, "
                f"or {key}='\"...\"' for a string"
            ) from None
    return check_json(key, json.dumps(value, ensure_ascii=False))


def _reason(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeEncodeError):
        return "not UTF-8"
    return str(error)


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON value")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return number


def _no_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found
