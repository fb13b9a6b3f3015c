"""The provider's catalogue: ``GET /v1/models``, or ``GET /v2/supported-models`` where that is all there is."""

from collections.abc import Mapping
from typing import Any

import anyio
import msgspec
import tenacity

from batchrunner.core.attempt import Billing, Failure, FailureKind
from batchrunner.core.http import HttpReply
from batchrunner.transport.send import HttpTransport

TRIES = 3
SECONDS_PER_TRY = 30.0
PATH = "/v1/models"
SUPPORTED = "/v2/supported-models"
"""Together's newer catalogue, for which its clients have dropped the other."""

MOST_PAGES = 200
"""Of one catalogue."""
LONGEST_CURSOR = 2_000
"""Characters: more would be more than servers take in a URL."""


async def fetch_models(transport: HttpTransport) -> list[dict[str, Any]] | HttpReply | Failure:
    """Return the provider's models as it describes them.

    Together sends a bare array, OpenAI and vLLM an object whose ``data`` is the array; both are read, and entries that
    are no objects are left out. Where there is no such path (404), Together's newer catalogue is asked for, page by
    page: a catalogue whose pages don't end is a Failure, and so is half a one. Broken connections, 429 and 5xx are
    tried again, three times in all, after 0.5 and 1 s.
    A refusal comes back as the HttpReply that it is, everything else that went wrong as a Failure.
    """
    outcome = await _get(transport, PATH)
    if isinstance(outcome, HttpReply) and outcome.status == 404:
        newer = await _get(transport, SUPPORTED)
        if isinstance(newer, HttpReply) and newer.status == 200:
            return await _all_pages(transport, newer)
    if isinstance(outcome, Failure) or outcome.status != 200:
        return outcome
    found = _parse(outcome.body)
    return _no_list(PATH) if found is None else found[0]


async def _all_pages(transport: HttpTransport, first: HttpReply) -> list[dict[str, Any]] | HttpReply | Failure:
    """Read a page, and go on while it names another one. What names it is the server's: it is a query, and no more."""
    models: list[dict[str, Any]] = []
    page = first
    for _ in range(MOST_PAGES):
        found = _parse(page.body)
        if found is None:
            return _no_list(SUPPORTED)
        models.extend(found[0])
        cursor = found[1]
        if cursor is None:
            return models
        outcome = await _get(transport, SUPPORTED, {"after": cursor})
        if isinstance(outcome, Failure) or outcome.status != 200:
            return outcome
        page = outcome
    return Failure(
        FailureKind.BAD_REPLY, f"{SUPPORTED} has more than {MOST_PAGES} pages of models", Billing.NOT_BILLED, 200
    )


async def _get(transport: HttpTransport, path: str, query: Mapping[str, str] | None = None) -> HttpReply | Failure:
    retrying = tenacity.AsyncRetrying(  # one for each use: it keeps its state between attempts
        sleep=anyio.sleep,
        stop=tenacity.stop_after_attempt(TRIES),
        wait=tenacity.wait_exponential(multiplier=0.5),
        retry=tenacity.retry_if_result(_worth_another_try),
        retry_error_callback=_last_result,
    )
    outcome: HttpReply | Failure = await retrying(transport.get, path, query, deadline=SECONDS_PER_TRY)
    return outcome


def _worth_another_try(outcome: HttpReply | Failure) -> bool:
    if isinstance(outcome, Failure):
        return outcome.kind is not FailureKind.MISCONFIGURED
    return outcome.status == 429 or outcome.status >= 500


def _last_result(state: tenacity.RetryCallState) -> HttpReply | Failure:
    if state.outcome is None:
        raise RuntimeError("tenacity gave up before it tried")
    outcome: HttpReply | Failure = state.outcome.result()
    return outcome


def _parse(body: bytes) -> tuple[list[dict[str, Any]], str | None] | None:
    """Return the models of a page and the cursor of the next one; None for what is no page of models."""
    try:
        page = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    found, cursor = page, None
    if isinstance(page, dict):
        found, cursor = page.get("data"), page.get("next_cursor") or None
    if not isinstance(found, list) or not isinstance(cursor, str | None) or len(cursor or "") > LONGEST_CURSOR:
        return None
    return [entry for entry in found if isinstance(entry, dict)], cursor


def _no_list(path: str) -> Failure:
    return Failure(
        FailureKind.BAD_REPLY,
        f"{path} answered 200, but not with a list of models; check the base URL",
        Billing.NOT_BILLED,
        200,
    )
