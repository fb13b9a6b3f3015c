"""What becomes of one call, as values: the answer for the wire and what the ledger is to know of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from batchrunner.simulator import errors, streams
from batchrunner.simulator.answers import Work
from batchrunner.simulator.bill import charge
from batchrunner.simulator.faults import STREAM_KINDS, UNANSWERED_KINDS, WHOLE_KINDS, WIRE_KINDS
from batchrunner.simulator.ledger import Entry
from batchrunner.simulator.settings import Settings
from batchrunner.simulator.spoiled import ABSURD_LIMITS, ruined_body, spoil
from batchrunner.simulator.transcripts import content_type_of

_LISTS: Final = {
    **dict.fromkeys(("chat", "completions"), "choices"),
    **dict.fromkeys(("embeddings", "score", "images", "speech", "videos"), "data"),
    **dict.fromkeys(("rerank", "moderations"), "results"),
    "responses": "output",
}
_TEXT: Final = "text"
"""What takes the place of a list in a transcript."""

CUT_STREAMS: Final = STREAM_KINDS - {"stream_comments"}
"""Faults after which a stream holds no whole answer."""


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
    pieces: Sequence[bytes] = ()
    """The events of a stream, which make up the body; none for an answer that is sent at once."""
    pace: float = 0.0
    """Seconds between two of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request as it was received; `path` has neither query nor version prefix."""

    number: int
    time: float
    wall: float
    method: str
    path: str
    route: str
    query: str
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
    pieces: tuple[bytes, ...] = ()


def unread(fault: str, wire: str) -> Verdict:
    """Dropped without being looked at."""
    return Verdict(status=0, fault=fault, wire=wire, processed=False)


def served(
    work: Work,
    answer: dict[str, Any] | str,
    usage: dict[str, Any] | None,
    fault: str | None,
    headers: Mapping[str, str],
    settings: Settings,
) -> Verdict:
    """A call that was done and is billed, with whatever `fault` then makes of its answer."""
    streamed, flavour = work.call.streamed, settings.flavour
    pieces: tuple[bytes, ...] = ()
    if isinstance(answer, str):
        body, content_type = answer.encode(), content_type_of(work.call) or errors.JSON_TYPE
    else:
        usage = spoil(answer, usage, fault, _LISTS.get(work.call.endpoint, _TEXT))
        pieces = streams.events(answer, work.call, flavour, fault) if streamed else ()
        body = b"".join(pieces) if streamed else msgspec.json.encode(answer)
        content_type = streams.CONTENT_TYPE if streamed else errors.JSON_TYPE
    if streamed and (fault in CUT_STREAMS or not streams.tells_usage(work.call, flavour)):
        usage = None
    good = Verdict(
        status=200,
        content_type=content_type,
        body=body,
        pieces=pieces,
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
    if fault == "stream_stall" and streamed:
        return replace(good, wire=fault)
    if fault == "absurd_limits":
        return replace(good, headers={**headers, **ABSURD_LIMITS})
    if fault == "html200":
        return replace(good, body=errors.html_page(200), content_type=errors.HTML_TYPE, usage=None, pieces=())
    if fault is not None and fault.startswith("status"):
        status = int(fault[-3:])
        return replace(good, status=status, body=b"" if status < 300 else body, usage=None, pieces=())
    if fault == "odd_json" and streamed:
        first = b"data: %b" % ruined_body(fault, pieces[0].removeprefix(b"data: "))
        return replace(good, body=b"".join((first, *pieces[1:])), pieces=(first, *pieces[1:]))
    ruined = ruined_body(fault, body)
    if ruined == body:
        return good
    return replace(good, body=ruined, usage=usage if fault == "odd_json" else None, pieces=())


def as_bytes(verdict: Verdict, content_type: str, body: bytes) -> Verdict:
    """A good answer that is no JSON; one that was spoiled stays as it is."""
    if verdict.status not in (0, 200) or verdict.fault not in (None, *WIRE_KINDS, "keepalive_race"):
        return verdict
    return replace(verdict, content_type=content_type, body=body)


def doubled(verdict: Verdict, earlier: Verdict) -> Verdict:
    """This call is done and billed, and gets the `earlier` answer to another call, id and all."""
    return replace(
        verdict,
        body=earlier.body,
        pieces=earlier.pieces,
        content_type=earlier.content_type,
        headers=earlier.headers,
        usage=None,
    )


def answer_of(arrival: Arrival, verdict: Verdict, settings: Settings, delay: float) -> Answer:
    """What goes on the wire."""
    return Answer(
        number=arrival.number,
        status=verdict.status,
        headers={"Content-Type": verdict.content_type, **arrival.marks, **verdict.headers},
        body=verdict.body,
        delay=delay,
        fault=verdict.wire,
        pieces=verdict.pieces,
        pace=1 / settings.tokens_per_second if verdict.pieces and settings.tokens_per_second else 0.0,
    )


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
        streamed=bool(verdict.pieces),
    )
    if verdict.billed and work is not None:
        entry.input_tokens = work.input_tokens
        entry.cached_tokens = work.cached_tokens
        entry.output_tokens = work.output_tokens
        entry.texts = len(work.call.texts) if work.call.endpoint == "embeddings" else 0
        entry.units = work.units
        tokens = (work.input_tokens, work.cached_tokens, work.output_tokens)
        entry.charge = charge(work.call.model, tokens, work.units)
    return entry
