"""Refusals and their bodies, as Together and OpenAI send them. A refusal is a value; `render` puts it on the wire."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final, NamedTuple

import msgspec

from batchrunner.simulator.settings import Flavour, LimitType

JSON_TYPE: Final = "application/json; charset=utf-8"
HTML_TYPE: Final = "text/html; charset=UTF-8"

_HTML_STATUSES: Final = frozenset({502, 520, 521, 522, 523, 524, 525, 526, 527, 530})
"""Statuses that come from a proxy in front of the provider, which speaks HTML."""

_REASONS: Final = {
    520: "Web Server Returned an Unknown Error",
    521: "Web Server Is Down",
    522: "Connection Timed Out",
    523: "Origin Is Unreachable",
    524: "A Timeout Occurred",
    525: "SSL Handshake Failed",
    526: "Invalid SSL Certificate",
    527: "Railgun Error",
    529: "Site Is Overloaded",
    530: "Origin Error",
}


class Refusal(NamedTuple):
    """Why a call is not served. `html` replaces the JSON body by a proxy's page."""

    status: int
    message: str
    type: str | None = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    html: bool = False
    wait: float | None = None
    """Seconds after which the call may come again, for 429 and 503."""


def render(refusal: Refusal, flavour: Flavour, call_id: str) -> tuple[str, bytes]:
    """Content type and body of a refusal. Together puts a top-level `id` beside `error`, OpenAI does not."""
    if refusal.html:
        return HTML_TYPE, html_page(refusal.status)
    body: dict[str, Any] = {"id": call_id} if flavour == "together" else {}
    body["error"] = {
        "message": refusal.message,
        "type": refusal.type,
        "param": refusal.param,
        "code": refusal.code,
    }
    return JSON_TYPE, msgspec.json.encode(body)


def html_page(status: int) -> bytes:
    """The page a proxy shows instead of an answer."""
    title = f"{status} {reason(status)}"
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{title}</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"
    ).encode()


def reason(status: int) -> str:
    """The phrase for a status, proxies' own ones included."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return _REASONS.get(status, "Unknown")


def unauthorized(flavour: Flavour, *, missing: bool) -> Refusal:
    """401; the key itself is never repeated in the message."""
    if flavour == "together":
        text = "No API key provided." if missing else "Invalid API key provided."
        place = "https://api.together.ai/settings/api-keys"
    else:
        text = "You didn't provide an API key." if missing else "Incorrect API key provided."
        place = "https://platform.openai.com/account/api-keys"
    return Refusal(401, f"{text} You can find your API key at {place}.", code="invalid_api_key")


def no_credit(flavour: Flavour) -> Refusal:
    """Together says 402 `credit_limit`, OpenAI 429 `insufficient_quota` (which no waiting cures)."""
    if flavour == "together":
        return Refusal(
            402,
            "Credit limit exceeded, please add credits at https://api.together.ai/settings/billing to continue.",
            "credit_limit",
        )
    return Refusal(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "insufficient_quota",
    )


def missing_model(flavour: Flavour, model: str) -> Refusal:
    """404 for a model id that is not known."""
    if flavour == "together":
        text = (
            f"Unable to access model {model}. Please visit https://api.together.ai/models to view the list of models."
        )
        return Refusal(404, text, code="model_not_found")
    text = f"The model `{model}` does not exist or you do not have access to it."
    return Refusal(404, text, code="model_not_found")


def unavailable_model(model: str) -> Refusal:
    """400 for a model that needs an endpoint of its own."""
    text = f"Unable to access non-serverless model {model}. Please create and start a new dedicated endpoint for it."
    return Refusal(400, text, code="model_not_available")


def unknown_path(method: str, path: str) -> Refusal:
    """404 for an address that is not served."""
    return Refusal(404, f"Invalid URL ({method} {path})")


def wrong_method(method: str, path: str) -> Refusal:
    """405 for a known address and the wrong verb."""
    return Refusal(405, f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)")


def rate_limited(
    flavour: Flavour, limit_type: LimitType, model: str, by: str, limits: tuple[float | None, float | None], wait: float
) -> Refusal:
    """429 with the type and wording of the flavour; `by` is `requests` or `tokens`, `limits` are per minute."""
    requests, tokens = (0 if each is None else each for each in limits)
    if flavour == "openai":
        unit, limit = ("RPM", requests) if by == "requests" else ("TPM", tokens)
        text = (
            f"Rate limit reached for {model} in organization org-sim on {by} per min ({unit}): Limit {limit:g}, "
            f"Used {limit:g}. Please try again in {wait:.3f}s."
        )
        return Refusal(429, text, by, "rate_limit_exceeded", wait=wait)
    if limit_type == "dynamic":
        kind = "dynamic_request_limited" if by == "requests" else "dynamic_token_limited"
        return Refusal(429, f"You are above the dynamic {by} rate of the model {model}.", kind, wait=wait)
    if limit_type == "account":
        text = f"You have been rate limited. Your rate limit is {requests:g} queries per minute."
        return Refusal(429, text, "credit_limit", wait=wait)
    also = f" and {tokens:g} tokens" if tokens else ""
    text = (
        f"You have reached the rate limit specific to this model {model}. The maximum rate limit for this model is "
        f"{requests:g} queries{also} per minute."
    )
    return Refusal(429, text, "model_rate_limit", wait=wait)


def overloaded(flavour: Flavour, wait: float) -> Refusal:
    """503: too little capacity, whatever one's own limits are."""
    if flavour == "openai":
        text = "The server is currently overloaded. Please try again later."
        return Refusal(503, text, "server_error", "server_is_overloaded", wait=wait)
    return Refusal(503, "The server is overloaded or not ready yet.", "service_unavailable", wait=wait)


def too_large() -> Refusal:
    """413."""
    return Refusal(413, "Request entity too large")


def context_exceeded(flavour: Flavour, context: int, given: int, wanted: int) -> Refusal:
    """The prompt, or prompt and `max_tokens` together, do not fit (tokens).

    OpenAI and Together say 400 when the prompt alone is too long; Together says 422 with a wording of its own when only
    `max_tokens` is.
    """
    if flavour == "together" and given < context:
        text = (
            f"Input validation error: `inputs` tokens + `max_new_tokens` must be <= {context}. "
            f"Given: {given} `inputs` tokens and {wanted} `max_new_tokens`"
        )
        return Refusal(422, text, param="max_tokens")
    text = (
        f"This model's maximum context length is {context} tokens. However, you requested {given + wanted} tokens "
        f"({given} in the messages, {wanted} in the completion). Please reduce the length of either."
    )
    if flavour == "openai":
        return Refusal(400, text, code="context_length_exceeded", param="messages")
    return Refusal(400, text)


def injected(kind: str, flavour: Flavour, limit_type: LimitType, model: str, wait: float) -> Refusal:
    """The refusal for a fault of the plan that is one: three digits, `502html`, `400transient`."""
    if kind == "400transient":
        return Refusal(400, "All connection attempts failed", None)
    status = int(kind[:3])
    if status in _HTML_STATUSES:
        return Refusal(status, "", html=True)
    if status == 429:
        return rate_limited(flavour, limit_type, model, "requests", (600, None), wait)
    special = {
        401: unauthorized(flavour, missing=False),
        402: no_credit("together"),
        404: missing_model(flavour, model),
        413: too_large(),
        503: overloaded(flavour, wait),
    }
    if status in special:
        return special[status]
    messages = {
        400: "Input validation error",
        403: "Access to this resource is forbidden.",
        408: "Request timeout",
        422: "Input validation error",
        500: "Internal server error",
        504: "The request timed out before it was completed.",
        529: "The server had an error while processing your request.",
    }
    text = messages.get(status, reason(status))
    return Refusal(status, text, "invalid_request_error" if status < 500 else "server_error")


def error_in_200() -> bytes:
    """A body that reports an error although the status says 200 (as gateways do)."""
    return b'{"error":{"code":502,"message":"Provider returned error","metadata":{"provider_name":"sim"}}}'
