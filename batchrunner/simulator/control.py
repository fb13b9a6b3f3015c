"""The control and inspection endpoints under `/_sim/`: not part of any provider, not in the ledger, no key needed."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from batchrunner.simulator import errors
from batchrunner.simulator.provider import Provider
from batchrunner.simulator.verdicts import Answer

PREFIX: Final = "/_sim/"
_JSON_LINES: Final = "application/x-ndjson; charset=utf-8"


def control(provider: Provider, method: str, path: str, body: bytes) -> Answer:
    """`GET ledger` (JSON lines), `GET stats`, `GET settings`, `POST settings` (a JSON object of fields to change)."""
    what = (method, path.partition("?")[0].removeprefix(PREFIX))
    if what == ("GET", "ledger"):
        return _answer(200, provider.ledger.json_lines(), _JSON_LINES)
    if what == ("GET", "stats"):
        return _json(200, {"seconds": provider.now() - provider.started, **provider.ledger.stats()})
    if what == ("GET", "settings"):
        return _json(200, provider.settings.shown())
    if what == ("POST", "settings"):
        return _change(provider, body)
    return _json(404, {"error": "there are GET ledger, GET stats, GET settings and POST settings under /_sim/"})


def _change(provider: Provider, body: bytes) -> Answer:
    try:
        patch = msgspec.json.decode(body, type=dict[str, Any])
        changed = provider.settings.patched(patch)
    except (msgspec.DecodeError, ValueError) as error:
        return _json(400, {"error": str(error)})
    provider.change(changed)
    return _json(200, changed.shown())


def _json(status: int, value: object) -> Answer:
    return _answer(status, msgspec.json.encode(value), errors.JSON_TYPE)


def _answer(status: int, body: bytes, content_type: str) -> Answer:
    return Answer(number=0, status=status, headers={"Content-Type": content_type}, body=body)
