"""The provider's catalogue: ``GET /v1/models``, or ``GET /v2/supported-models`` where that is all there is."""

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


async def fetch_models(transport: HttpTransport) -> list[dict[str, Any]] | HttpReply | Failure:
    """Return the provider's models as it describes them.

    Together sends a bare array, OpenAI and vLLM an object whose ``data`` is the array; both are read, and entries that
    are no objects are left out. Where there is no such path (404), the first page of Together's newer catalogue is
    asked for. Broken connections, 429 and 5xx are tried again, three times in all, after 0.5 and 1 s.
    A refusal comes back as the HttpReply that it is, everything else that went wrong as a Failure.
    """
    outcome = await _get(transport, PATH)
    if isinstance(outcome, HttpReply) and outcome.status == 404:
        newer = await _get(transport, SUPPORTED)
        outcome = newer if isinstance(newer, HttpReply) and newer.status == 200 else outcome
    if isinstance(outcome, Failure) or outcome.status != 200:
        return outcome
    return _parse(outcome.body)


async def _get(transport: HttpTransport, path: str) -> HttpReply | Failure:
    retrying = tenacity.AsyncRetrying(  # one for each use: it keeps its state between attempts
        sleep=anyio.sleep,
        stop=tenacity.stop_after_attempt(TRIES),
        wait=tenacity.wait_exponential(multiplier=0.5),
        retry=tenacity.retry_if_result(_worth_another_try),
        retry_error_callback=_last_result,
    )
    outcome: HttpReply | Failure = await retrying(transport.get, path, deadline=SECONDS_PER_TRY)
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


def _parse(body: bytes) -> list[dict[str, Any]] | Failure:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    if isinstance(found, dict):
        found = found.get("data")
    if not isinstance(found, list):
        return Failure(
            FailureKind.BAD_REPLY,
            f"{PATH} answered 200, but not with a list of models; check the base URL",
            Billing.NOT_BILLED,
            200,
        )
    return [entry for entry in found if isinstance(entry, dict)]
