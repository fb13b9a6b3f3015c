"""What the provider in a box can be told. Every field has a plain type, so that a flag or a JSON patch can set it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import msgspec

from batchrunner.simulator.faults import FaultBy, check_faults, parse_faults

Flavour = Literal["together", "openai"]
RetryAfterStyle = Literal["seconds", "decimal", "date", "past_date", "ms", "absurd", "malformed", "negative", "none"]
LimitType = Literal["model", "dynamic", "account"]
LongTexts = Literal["cut", "refuse"]
Base64Vectors = Literal["give", "refuse", "ignore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Immutable; `patched` gives a changed copy. Times are seconds, rates are per minute where the name says so."""

    flavour: Flavour = "together"
    """Whose wire format, quirks and error bodies: Together's or OpenAI's."""
    seed: int = 0
    """Moves every throw of the dice (faults, latency, answers) to another, equally repeatable sequence."""

    api_key: str | None = field(default=None, repr=False)
    """The only bearer accepted; None accepts any that is not empty. Never shown, logged or put in the ledger."""
    keyless: bool = False
    """Take calls without a key, as a server of one's own does; one that comes is not looked at."""
    revoke_after: int | None = None
    """After so many calls with a good key the key is refused with 401; 0 refuses at once; None never."""
    credit_calls: int | None = None
    """After so many billed calls: 402 `credit_limit` (together) or 429 `insufficient_quota` (openai). None never."""

    models: tuple[str, ...] | None = None
    """The model ids that exist; None means that any id does (and the models list shows the catalogue)."""
    newer_catalogue: bool = False
    """Only `GET /v2/supported-models` lists the models, a page at a time; `GET /v1/models` is gone."""
    missing_models: tuple[str, ...] = ()
    """Model ids answered with 404."""
    unavailable_models: tuple[str, ...] = ()
    """Model ids answered with 400 `model_not_available`."""
    context_length: int | None = None
    """Context of every model in tokens; None: what the catalogue says, else 131,072."""
    embedding_dimensions: int | None = None
    """Length of every vector; None: what the catalogue says, else 1,024."""
    max_texts: int | None = None
    """Most texts that one call may embed; None: 2,048 (openai), any number (together)."""
    max_request_tokens: int | None = None
    """Most tokens of all texts of such a call together; None: 300,000 (openai), any number (together)."""
    long_texts: LongTexts | None = None
    """A text to embed that is longer than the context: cut silently (together), or its call refused (openai)."""
    base64_vectors: Base64Vectors = "give"
    """Where a call asks for vectors as base64: give them so, answer 400, or give numbers all the same."""
    max_body_bytes: int = 32 * 1024 * 1024
    """A longer request is answered with 413."""
    poison: str = ""
    """A text that makes any request holding it a 400 (poison rows, also inside a pack of texts); empty: none."""

    echo: bool = True
    """Begin generated text with `[echo <12 hex>]`, the SHA-256 of the request body. The header `x-sim-echo` and (chat,
    completions) `system_fingerprint` carry it always; the header `x-sim-for` carries the call's X-Client-Request-Id."""
    mean_output_tokens: float = 60.0
    """Mean length of a generated text in tokens, before it is cut at `max_tokens`."""
    output_spread: float = 0.5
    """Sigma of the log-normal curve of output lengths; 0: all alike."""
    cached_share: float = 0.0
    """Share of the input tokens reported as read from the provider's cache."""

    url_seconds: float = 3600.0
    """How long the address of a picture or a video holds; then 403, as storage services say."""
    video_seconds: float = 3.0
    """How long a video job takes."""
    video_failures: float = 0.0
    """Share of the video jobs that fail, at no cost."""
    video_cost: float = 0.28
    """Dollars that a video says it cost."""

    latency: float = 0.0
    """Mean seconds until an answer starts."""
    latency_jitter: float = 0.25
    """The latency lies between `latency * (1 - jitter)` and `latency * (1 + jitter)`, evenly."""
    tokens_per_second: float | None = None
    """If given, each output token adds 1 / so many seconds to the latency of its answer."""
    refusal_latency: float = 0.0
    """Seconds until a refusal (4xx, 5xx) starts."""

    requests_per_minute: float | None = None
    """Limit for each model; None: no limit."""
    tokens_per_minute: float | None = None
    """Limit for each model; None: no limit."""
    model_limits: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    """(requests, tokens) per minute for the models that differ."""
    burst_seconds: float = 1.0
    """How many seconds of rate a bucket holds; never less than one request, or the one call at hand."""
    count_tokens: Literal["max", "real"] = "max"
    """What a call takes from the token bucket: input + `max_tokens`, or input + the output it really gets."""
    capacity: int | None = None
    """More calls in flight than this are answered with 503 (overloaded); None: no such bound."""
    limit_type: LimitType = "model"
    """Which of Together's 429 bodies: `model_rate_limit`, `dynamic_*_limited`, or an account's (odd) `credit_limit`."""
    limit_headers: bool = True
    """Send `x-ratelimit-*` and the like where a limit exists."""
    retry_after_style: RetryAfterStyle = "seconds"
    """How a 429 says when to come back; `ms` is the header `retry-after-ms`, `none` says nothing."""
    retry_after: float = 1.0
    """Seconds that an injected 429 (or 503) asks for; a 429 by the limits asks for the true wait."""
    retry_after_on_503: bool = False
    """Say when to come back on 503 as well."""

    faults: Mapping[str, float] = field(default_factory=dict)
    """Rates by kind, see `parse_faults`."""
    fault_by: FaultBy = "attempt"
    """Throw the dice per body and attempt, per body, or per number of the call."""
    drip_interval: float = 0.5
    """Seconds between two bytes of a `drip`, and between two of the `promises` that never end."""
    redirect_to: str = "http://127.0.0.1:9/v1/elsewhere"
    """Where a `redirect` (307) points."""
    hang_seconds: float | None = None
    """How long a `hang` (`hang_head`, `hang_mid`) lasts before the connection closes; None: until the client goes."""
    keepalive_close: int | None = None
    """After so many answers on a connection, the next request on it is read and the connection closed."""
    outages: tuple[tuple[float, float], ...] = ()
    """Windows (from, to) in seconds since the start in which nothing works."""
    outage_kind: Literal["503", "refused"] = "503"
    """What an outage looks like: every call gets 503, or no connection is accepted."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense, with a ValueError that names the field."""
        check_faults(self.faults)
        for name in (
            "latency",
            "refusal_latency",
            "burst_seconds",
            "drip_interval",
            "output_spread",
            "retry_after",
            "url_seconds",
            "video_seconds",
            "video_cost",
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}: {value} must be a number of at least 0")
        for name in ("cached_share", "latency_jitter", "video_failures"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name}: {getattr(self, name)} must lie between 0 and 1")
        for name in ("requests_per_minute", "tokens_per_minute", "revoke_after", "credit_calls", "capacity"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name}: {value} must be at least 0")
        if self.tokens_per_second is not None and self.tokens_per_second <= 0:
            raise ValueError(f"tokens_per_second: {self.tokens_per_second} must be more than 0")
        for name in ("embedding_dimensions", "max_texts", "max_request_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: {value} must be at least 1")

    def patched(self, patch: Mapping[str, Any]) -> Settings:
        """A copy with the fields of `patch` (JSON types; `faults` also as text). ValueError names what is wrong."""
        unknown = patch.keys() - {each.name for each in fields(self)}
        if unknown:
            raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
        values = {**asdict(self), **patch}
        if isinstance(values["faults"], str):
            values["faults"] = parse_faults(values["faults"])
        try:
            return msgspec.convert(values, Settings)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from error

    def shown(self) -> dict[str, Any]:
        """All fields as JSON types, the key replaced by the word `set`."""
        values = asdict(self)
        values["api_key"] = None if self.api_key is None else "set"
        return values

    def limits_of(self, model: str) -> tuple[float | None, float | None]:
        """(requests, tokens) per minute that hold for `model`."""
        return self.model_limits.get(model, (self.requests_per_minute, self.tokens_per_minute))
