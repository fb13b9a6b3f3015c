"""Limit headers: what Together's and OpenAI's replies say is allowed, read with suspicion."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from batchrunner.core.attempt import Failure, FailureKind, Outcome
from batchrunner.core.hints import LONGEST_STALL, LimitHints

MAX_RESET = 3600.0
"""Seconds; a reset that is said to be later is clamped to this."""

_LONGEST = 64
_NUMBER = re.compile(r"[0-9]{1,18}(?:\.[0-9]{0,30})?(?:[eE][+-]?[0-9]{1,3})?")
_GO = re.compile(
    r"(?:(?P<h>{0})h)?(?:(?P<m>{0})m)?(?:(?P<s>{0})s)?(?:(?P<ms>{0})ms)?(?:(?P<us>{0})[uµμ]s)?(?:(?P<ns>{0})ns)?".format(
        r"[0-9]{1,9}(?:\.[0-9]{0,12})?"
    )
)
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_EPOCH, _EPOCH_MS = 1e9, 1e12
_LEAST, _MOST = 1e-4, 1e9
"""Per second: what is outside means something else, or nothing."""

_TOKENS = re.compile(rb"dynamic_token_limited|\"tokens\"|tokens? (?:per|limit)|\bTPM\b")
_REQUESTS = re.compile(rb"dynamic_request_limited|\"requests\"|(?:requests|queries) per|\bRPM\b|\bRPD\b")


def read_limits(headers: Mapping[str, str], received_us: int, outcome: Outcome | None = None) -> LimitHints | None:
    """Return what a reply's headers, and a refusal's body, say of the limits; None where they say nothing.

    It never raises: whatever can't be read says nothing.

    Together: ``x-ratelimit-limit`` and ``x-tokenlimit-limit`` allow so much per *second*; their ``-dynamic`` variants
    hold where they are sent. OpenAI and those who follow it: ``x-ratelimit-limit-requests`` and ``-tokens`` per minute;
    where remaining and reset show a much slower refill, the limit is a day's, and no rate. Azure's -1 and 0 say
    nothing, nor does what is no number. A reset is seconds, a Go duration, an RFC 3339 time or seconds or milliseconds
    since the epoch, which are read against ``received_us`` (wall time, microseconds). Header names are lower-case.
    """
    refused = isinstance(outcome, Failure) and outcome.kind is FailureKind.RATE_LIMITED
    requests, tokens = _requests(headers, received_us), _tokens(headers, received_us)
    ready = _ready_in(headers, received_us) if refused else None
    short = refused and isinstance(outcome, Failure) and _is_short_of_tokens(headers, outcome.body)
    if requests is None and tokens is None and ready is None and not short:
        return None
    return LimitHints(requests, tokens, ready, short)


def read_reset(text: str | None, received_us: int) -> float | None:
    """Return the seconds until a reset, 0 to MAX_RESET; None for what can't be read."""
    word = (text or "").strip()[:_LONGEST]
    seconds = _number(word)
    now = received_us / 1e6
    if seconds is not None:
        seconds = seconds / 1e3 - now if seconds >= _EPOCH_MS else seconds - now if seconds >= _EPOCH else seconds
    elif word and (match := _GO.fullmatch(word)):
        seconds = sum(float(part) * _UNITS[unit] for unit, part in match.groupdict(default="0").items())
    else:
        seconds = _until(word, now)
    return None if seconds is None else min(max(0.0, seconds), MAX_RESET)


def _requests(headers: Mapping[str, str], received_us: int) -> float | None:
    """Return the requests per second that are allowed."""
    for name in ("x-ratelimit-limit-dynamic", "x-ratelimit-limit"):
        if (rate := _rate(headers.get(name))) is not None:
            return rate
    return _per_minute(headers, "requests", received_us)


def _tokens(headers: Mapping[str, str], received_us: int) -> float | None:
    """Return the tokens per second that are allowed.

    ``x-ratelimit-limit-tokens`` is OpenAI's, per minute; Together was seen to send it alone or beside its own headers,
    which are all per second.
    """
    for name in ("x-tokenlimit-limit-dynamic", "x-tokenlimit-limit"):
        if (rate := _rate(headers.get(name))) is not None:
            return rate
    if "x-ratelimit-limit-requests" in headers or "x-ratelimit-reset-tokens" in headers:
        return _per_minute(headers, "tokens", received_us)
    return _rate(headers.get("x-ratelimit-limit-tokens"))


def _per_minute(headers: Mapping[str, str], what: str, received_us: int) -> float | None:
    limit = _rate(headers.get(f"x-ratelimit-limit-{what}"))
    if limit is None:
        return None
    refill = _refill(headers, what, limit, received_us)
    return None if refill is not None and refill < limit / 120 else limit / 60


def _refill(headers: Mapping[str, str], what: str, limit: float, received_us: int) -> float | None:
    """Return per second what comes back, by what is missing and when it will be there again; None if not said.

    Coarse clocks round a short reset up, so only what takes longer than a second tells anything.
    """
    remaining = _number((headers.get(f"x-ratelimit-remaining-{what}") or "").strip()[:_LONGEST])
    reset = read_reset(headers.get(f"x-ratelimit-reset-{what}"), received_us)
    if remaining is None or reset is None or reset <= 1 or not 0 <= remaining < limit:
        return None
    return (limit - remaining) / reset


def _ready_in(headers: Mapping[str, str], received_us: int) -> float | None:
    """Return when a refused call would pass: Together's reset says it, OpenAI's says when all will have come back."""
    for what in ("requests", "tokens"):
        if (headers.get(f"x-ratelimit-remaining-{what}") or "").strip() == "0":
            limit = _rate(headers.get(f"x-ratelimit-limit-{what}"))
            reset = read_reset(headers.get(f"x-ratelimit-reset-{what}"), received_us)
            if reset is not None:
                return min(LONGEST_STALL, reset / limit if limit is not None and limit > 1 else reset)
    reset = read_reset(headers.get("x-ratelimit-reset"), received_us)
    if reset is None:
        return None
    limit = _rate(headers.get("x-ratelimit-limit"))
    return min(LONGEST_STALL, reset / max(1.0, limit or 1.0))


def _is_short_of_tokens(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a refusal was for tokens: its body says so and does not speak of requests, or no tokens are left."""
    if _TOKENS.search(body, 0, 4_000):
        return not _REQUESTS.search(body, 0, 4_000)
    names = ("x-tokenlimit-remaining-dynamic", "x-tokenlimit-remaining", "x-ratelimit-remaining-tokens")
    left = next((headers[name] for name in names if name in headers), "")
    others = ("x-ratelimit-remaining-dynamic", "x-ratelimit-remaining", "x-ratelimit-remaining-requests")
    requests = next((headers[name] for name in others if name in headers), "")
    return left.strip() == "0" and requests.strip() != "0"


def _rate(text: str | None) -> float | None:
    """Read a limit; None for sentinels, signs, words and what no limit can be."""
    if text is None:
        return None
    number = _number(text.strip()[:_LONGEST])
    return number if number is not None and _LEAST <= number <= _MOST else None


def _number(text: str) -> float | None:
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def _until(text: str, now: float) -> float | None:
    """Return the seconds until an RFC 3339 time."""
    if not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]", text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - epoch).total_seconds() - now
