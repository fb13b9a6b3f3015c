"""The fault plan: which call goes wrong, and how. Pure and seeded, so that a run can be replayed.

A kind is either a status to answer with (`429`, `500`, `502html`, ...), an answer that is no good although it says
200 (`error200`, `truncated_json`, ...), or a fault of the wire (`hang`, `reset_before`, ...).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Final, Literal

FaultBy = Literal["attempt", "body", "number"]

UNANSWERED_KINDS: Final = frozenset({"hang", "hang_head", "reset_before", "close_before", "promises", "not_http"})
"""Done and billed, and no whole head of an answer ever leaves."""

BROKEN_KINDS: Final = frozenset(
    {
        *("truncate", "reset_mid", "hang_mid", "no_length_cut", "short_length", "two_lengths"),
        *("huge_head", "nul_head", "chunk_cut", "bad_chunk"),
        *("gzip", "gzip_cut", "bomb", "bomb_twice", "br", "huge", "endless"),
    }
)
"""Done and billed; what leaves begins like an answer and is none that a careful client can use."""

WHOLE_KINDS: Final = frozenset({"drip", "stray", "closing", "no_length", "cookies"})
"""Done and billed; the answer leaves whole, in an odd way (`stray`: followed by one that belongs to another call)."""

WIRE_KINDS: Final = UNANSWERED_KINDS | BROKEN_KINDS | WHOLE_KINDS
"""Done and billed like any good call; what then happens on the wire is in `wire.script`."""

STREAM_KINDS: Final = frozenset({"stream_error", "stream_cut", "stream_stall", "stream_comments"})
"""Done and billed; a stream holds an error, ends in its middle, falls silent there, or is full of comments (and whole).
A call that asked for no stream is answered as ever."""

UNPROCESSED_KINDS: Final = frozenset({"keepalive_race", "refused"})
"""The call is never looked at: nothing is done, nothing is billed, and no byte is answered."""

VECTOR_KINDS: Final = frozenset(
    {
        *("nan_vector", "infinite_vector", "null_vector", "short_vector", "other_dimensions"),
        *("fewer_vectors", "more_vectors", "wrong_index", "double_index", "shuffled"),
        *("cut_base64", "half_number"),
    }
)
"""Done and billed; vectors that are none, too few or too many, or not where they belong. `shuffled` is a good answer in
another order; `cut_base64` and `half_number` harm base64 alone. Whatever is no embedding is answered as ever."""

BODY_KINDS: Final = VECTOR_KINDS | frozenset(
    {
        *("truncated_json", "empty200", "html200", "null200", "array200", "deep200", "no_choices", "no_finish"),
        *("status204", "status205", "status999"),
        *("not_json", "off_schema", "blank", "cut_off"),
        *("no_usage", "null_usage", "absurd_usage", "same_id", "double", "absurd_limits", "odd_json", "billed500"),
    }
)
"""Done and billed; the answer that comes back whole is not (all of) what was paid for, or says odd things beside it."""

NAMED_STATUS_KINDS: Final = frozenset({"502html", "400transient", "error200", "redirect"})
"""Refusals with a name of their own; every other refusal is named by its three digits."""

STATUS_KINDS: Final = frozenset(
    f"{status}"
    for status in (
        *(400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 415, 422, 424, 425, 429),
        *(500, 501, 502, 503, 504, 505, 520, 521, 522, 523, 524, 525, 526, 527, 529, 530),
    )
)

KINDS: Final = WIRE_KINDS | BODY_KINDS | STREAM_KINDS | NAMED_STATUS_KINDS | STATUS_KINDS | {"keepalive_race"}
"""Every kind that a plan may name (`refused` belongs to outages alone)."""


def check_kind(kind: str) -> None:
    """Raise ValueError, naming what is possible, if `kind` is not one."""
    if kind not in KINDS:
        raise ValueError(f"unknown fault {kind!r}; possible are {', '.join(sorted(KINDS))}")


def check_faults(faults: Mapping[str, float]) -> None:
    """Raise ValueError unless every kind is known, every rate a probability, and their sum at most 1."""
    for kind, rate in faults.items():
        check_kind(kind)
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"fault {kind}: rate {rate} is not between 0 and 1")
    total = math.fsum(faults.values())
    if total > 1.0 + 1e-9:
        raise ValueError(f"the fault rates add up to {total:g}, which is more than 1")


def parse_faults(text: str) -> dict[str, float]:
    """Read `429=0.05,500=0.02,reset_before=1%` into rates by kind; ValueError says which part is wrong."""
    faults: dict[str, float] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        kind, equals, number = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ValueError(f"fault {part!r}: write KIND=RATE, for instance 429=0.05")
        if kind in faults:
            raise ValueError(f"fault {kind!r} is given twice")
        try:
            faults[kind] = float(number[:-1]) / 100 if number.endswith("%") else float(number)
        except ValueError:
            raise ValueError(f"fault {kind!r}: {number!r} is not a number") from None
    check_faults(faults)
    return faults


def dice(*parts: object) -> float:
    """A number in [0, 1) that depends on nothing but `parts`."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def draw_fault(
    faults: Mapping[str, float], *, seed: int, by: FaultBy, number: int, body_sha256: str, seen: int
) -> str | None:
    """The fault of this call, or None.

    `by="number"` throws the dice per call in order of arrival, `"body"` per content (the same body always fares the
    same: poison rows), `"attempt"` per content and per how often that content was `seen` before. Only the last two do
    not depend on the order in which concurrent calls arrive.
    """
    if not faults:
        return None
    if by == "number":
        throw = dice("fault", seed, number)
    elif by == "body":
        throw = dice("fault", seed, body_sha256)
    else:
        throw = dice("fault", seed, body_sha256, seen)
    for kind, rate in faults.items():
        throw -= rate
        if throw < 0:
            return kind
    return None


def befalling(fault: str | None, endpoint: str, *, streamed: bool) -> str | None:
    """The fault, or None where it can't befall such a call: streams and vectors have faults of their own."""
    if (fault in STREAM_KINDS and not streamed) or (fault in VECTOR_KINDS and endpoint != "embeddings"):
        return None
    return fault
