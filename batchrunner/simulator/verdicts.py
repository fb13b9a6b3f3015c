"""What becomes of one call, as values: the answer for the wire and what the ledger is to know of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from batchrunner.simulator import errors
from batchrunner.simulator.answers import Work
from batchrunner.simulator.faults import UNANSWERED_KINDS, WHOLE_KINDS, WIRE_KINDS
from batchrunner.simulator.ledger import Entry
from batchrunner.simulator.spoiled import ABSURD_LIMITS, ruined_body, spoil

_LISTS: Final = {
    "chat": "choices", "completions": "choices", "embeddings": "data", "rerank": "results",
    "responses": "output", "moderations": "results", "score": "data",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the provider sends back. Whoever carries it waits `delay` seconds first, then does what `fault` says."""

    number: int
    """The call's number in the ledger; hand it to `Provider.finish` when the answer has left."""
    status: int
    """0 if not a byte is to be answered."""
    headers: Mapping[str, str]
    body: bytes
    delay: float = 0.0
    """Seconds before the first byte."""
    fault: str | None = None
    """A fault of the wire, one of `WIRE_KINDS`, or `refused` (as if nothing listened); what each one does is in
    `wire.script`. None: send it all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request as it was received; `path` has neither query nor version prefix."""

    number: int
    time: float
    wall: float
    method: str
    path: str
    route: str
    headers: Mapping[str, str]
    body: bytes
    sha256: str
    seen: int
    """How often the same body arrived before."""

    @property
    def echo(self) -> str:
        """The first 12 hex digits of the body's SHA-256, which every answer carries."""
        return self.sha256[:12]

    @property
    def marks(self) -> dict[str, str]:
        """Headers that say which call an answer belongs to: its body's hash, and the id that the client gave it."""
        given = self.headers.get("x-client-request-id", "")
        return {
            "x-sim-echo": self.echo,
            **({"x-sim-for": given} if given and given.isascii() and given.isprintable() else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome of a call before it is put in the ledger."""

    status: int
    content_type: str = errors.JSON_TYPE
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str | None = None
    wire: str | None = None
    processed: bool = True
    admitted: bool = False
    billed: bool = False
    usage: dict[str, Any] | None = None
    model: str = ""
    work: Work | None = None


def unread(fault: str, wire: str) -> Verdict:
    """Dropped without being looked at."""
    return Verdict(status=0, fault=fault, wire=wire, processed=False)


def served(
    work: Work,
    answer: dict[str, Any],
    usage: dict[str, Any] | None,
    fault: str | None,
    headers: Mapping[str, str],
) -> Verdict:
    """A call that was done and is billed, with whatever `fault` then makes of its answer."""
    usage = spoil(answer, usage, fault, _LISTS[work.call.endpoint])
    body = msgspec.json.encode(answer)
    good = Verdict(
        status=200,
        body=body,
        headers=headers,
        fault=fault,
        admitted=True,
        billed=True,
        usage=usage,
        model=work.call.model,
        work=work,
    )
    if fault in WIRE_KINDS:
        status = 0 if fault in UNANSWERED_KINDS else 200
        return replace(good, status=status, wire=fault, usage=usage if fault in WHOLE_KINDS else None)
    if fault == "absurd_limits":
        return replace(good, headers={**headers, **ABSURD_LIMITS})
    if fault == "html200":
        return replace(good, body=errors.html_page(200), content_type=errors.HTML_TYPE, usage=None)
    if fault is not None and fault.startswith("status"):
        status = int(fault[-3:])
        return replace(good, status=status, body=b"" if status < 300 else body, usage=None)
    ruined = ruined_body(fault, body)
    return good if ruined == body else replace(good, body=ruined, usage=usage if fault == "odd_json" else None)


def doubled(verdict: Verdict, earlier: Verdict) -> Verdict:
    """This call is done and billed, and gets the `earlier` answer to another call, id and all."""
    return replace(verdict, body=earlier.body, headers=earlier.headers, usage=None)


def entry_of(arrival: Arrival, verdict: Verdict) -> Entry:
    """What the ledger is told; the key only as a fingerprint."""
    headers, work = arrival.headers, verdict.work
    authorization = headers.get("authorization")
    retries = headers.get("x-stainless-retry-count", "")
    entry = Entry(
        number=arrival.number,
        time=arrival.time,
        wall=arrival.wall,
        method=arrival.method,
        path=arrival.path,
        model=verdict.model,
        status=verdict.status,
        fault=verdict.fault,
        processed=verdict.processed,
        request_bytes=len(arrival.body),
        body_sha256=arrival.sha256,
        client_request_id=headers.get("x-client-request-id"),
        key_fingerprint=None if authorization is None else hashlib.sha256(authorization.encode()).hexdigest()[:12],
        retry_count=int(retries) if retries.isdecimal() and len(retries) < 10 else 0,
        billed=verdict.billed,
        usage=verdict.usage,
        admitted=verdict.admitted,
        admission_tokens=0 if work is None else work.admission_tokens,
    )
    if verdict.billed and work is not None:
        entry.input_tokens = work.input_tokens
        entry.cached_tokens = work.cached_tokens
        entry.output_tokens = work.output_tokens
    return entry
