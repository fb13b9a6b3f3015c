"""Response headers that tell of limits, as Together and OpenAI send them."""

from __future__ import annotations

import math
from email.utils import formatdate

from batchrunner.simulator.limits import Bucket, Buckets
from batchrunner.simulator.settings import RetryAfterStyle, Settings


def limit_headers(buckets: Buckets, settings: Settings, now: float) -> dict[str, str]:
    """What is allowed and left. Together's figures are per second; OpenAI's per minute, resets as Go durations."""
    if not settings.limit_headers:
        return {}
    return _together(buckets, now) if settings.flavour == "together" else _openai(buckets, now)


def retry_after(style: RetryAfterStyle, wait: float, wall: float) -> dict[str, str]:
    """The header that asks to wait for `wait` seconds from `wall` (Unix seconds), or a bad one, or none."""
    if style == "none":
        return {}
    if style == "ms":
        return {"retry-after-ms": str(math.ceil(wait * 1000))}
    values = {
        "seconds": str(math.ceil(wait)),
        "decimal": f"{math.ceil(wait * 1000) / 1000:.3f}",
        "date": formatdate(math.ceil(wall + wait), usegmt=True),
        "past_date": formatdate(wall - 86_400, usegmt=True),
        "absurd": "999999999",
        "malformed": "soon",
        "negative": "-1",
    }
    return {"Retry-After": values[style]}


def go_duration(seconds: float) -> str:
    """Seconds in Go's style: `12ms`, `1s`, `18.642s`, `6m0s`, `1h2m3s`."""
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    tail = f"{rest / 1000:g}s"
    if not minutes:
        return tail
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{tail}" if hours else f"{minutes}m{tail}"


def _together(buckets: Buckets, now: float) -> dict[str, str]:
    found: dict[str, str] = {}
    if buckets.requests is not None:
        found["x-ratelimit-limit"] = f"{buckets.requests.rate:g}"
        found["x-ratelimit-remaining"] = _left(buckets.requests, now)
        found["x-ratelimit-reset"] = f"{buckets.requests.seconds_to_full(now):g}"
    if buckets.tokens is not None:
        found["x-tokenlimit-limit"] = f"{buckets.tokens.rate:g}"
        found["x-tokenlimit-remaining"] = _left(buckets.tokens, now)
    return found


def _openai(buckets: Buckets, now: float) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, bucket in (("requests", buckets.requests), ("tokens", buckets.tokens)):
        if bucket is not None:
            found[f"x-ratelimit-limit-{name}"] = f"{bucket.rate * 60:.0f}"
            found[f"x-ratelimit-remaining-{name}"] = _left(bucket, now)
            found[f"x-ratelimit-reset-{name}"] = go_duration(bucket.seconds_to_full(now))
    return found


def _left(bucket: Bucket, now: float) -> str:
    return str(max(0, math.floor(bucket.level(now) + 1e-9)))
