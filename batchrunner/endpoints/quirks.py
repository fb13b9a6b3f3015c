"""What a status or a code means at which provider, as data.

The statuses are those that Together and OpenAI document or were seen to send; the codes are looked for in
``error.code``, ``error.type`` and ``error_type``, whatever the status: a provider's own word says more than its status.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from batchrunner.core.attempt import FailureKind

_STATUSES = {
    400: FailureKind.INVALID_REQUEST,
    401: FailureKind.AUTH,
    402: FailureKind.NO_CREDIT,
    403: FailureKind.AUTH,
    404: FailureKind.MODEL_UNAVAILABLE,
    407: FailureKind.MISCONFIGURED,
    408: FailureKind.SERVER_ERROR,
    409: FailureKind.SERVER_ERROR,
    425: FailureKind.SERVER_ERROR,
    429: FailureKind.RATE_LIMITED,
    501: FailureKind.INVALID_REQUEST,
    503: FailureKind.OVERLOADED,
    505: FailureKind.INVALID_REQUEST,
    529: FailureKind.OVERLOADED,
}
_CODES = {
    "context_length_exceeded": FailureKind.CONTEXT_LENGTH,
    "content_filter": FailureKind.CONTENT_FILTER,
    "content_policy_violation": FailureKind.CONTENT_FILTER,
    "invalid_api_key": FailureKind.AUTH,
    "unsupported_country_region_territory": FailureKind.AUTH,
    "insufficient_quota": FailureKind.NO_CREDIT,
    "credit_balance_exhausted": FailureKind.NO_CREDIT,
    "billing_hard_limit_reached": FailureKind.NO_CREDIT,
    "organization_spend_limit_exceeded": FailureKind.NO_CREDIT,
    "project_spend_limit_exceeded": FailureKind.NO_CREDIT,
    "organization_usage_limit_exceeded": FailureKind.NO_CREDIT,
    "project_usage_limit_exceeded": FailureKind.NO_CREDIT,
    "model_not_available": FailureKind.MODEL_UNAVAILABLE,
    "model_not_found": FailureKind.MODEL_UNAVAILABLE,
    "dedicated_endpoint_not_running": FailureKind.MODEL_UNAVAILABLE,
    "rate_limit_exceeded": FailureKind.RATE_LIMITED,
}
# Together's 429 of type "credit_limit" is not among them: despite its name it is a limit on requests.


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """One provider's table."""

    name: str
    statuses: Mapping[int, FailureKind]
    """Where a status is missing: 3xx is MISCONFIGURED, other 4xx INVALID_REQUEST, other 5xx SERVER_ERROR."""
    codes: Mapping[str, FailureKind]
    stream_usage: bool = True
    """Whether a stream tells its usage only where ``stream_options.include_usage`` asks for it, as OpenAI's do."""


def _quirks(
    name: str, statuses: Mapping[int, FailureKind] = MappingProxyType({}), *, stream_usage: bool = True
) -> Quirks:
    return Quirks(
        name=name,
        statuses=MappingProxyType(_STATUSES | dict(statuses)),
        codes=MappingProxyType(_CODES),
        stream_usage=stream_usage,
    )


TOGETHER = _quirks("together", {403: FailureKind.CONTEXT_LENGTH}, stream_usage=False)
"""Together documents 403 as "input and max_tokens reach the context length", which is no question of permission. Its
streams tell their usage beside the finish reason, asked or not."""
OPENAI = _quirks("openai")
GENERIC = _quirks("generic")

QUIRKS: Mapping[str, Quirks] = MappingProxyType({quirks.name: quirks for quirks in (TOGETHER, OPENAI, GENERIC)})
"""The profiles by name; a provider that has none of its own is ``generic``."""
