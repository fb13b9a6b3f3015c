"""The records of a spill: closings, releases and continuations as bytes, and back again."""

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from batchrunner.core.attempt import Billing, Failure, Reply, Use
from batchrunner.core.request import Closing, Continued, Opening, Release, Settled
from batchrunner.core.retry import AskAgain, FallBack, GiveUp, RetryAt, Split, Stop, Succeed, Verdict
from batchrunner.core.usage import Usage, UsageFrom

_PREFIX: Final = struct.Struct("<II")


class Kept(msgspec.Struct, array_like=True, frozen=True):
    """A closing as it is written. Of reply and failure one is set, of the six verdicts at most one."""

    attempt_id: int
    opening: Opening
    ended: int
    reply: Reply | None
    failure: Failure | None
    retry: RetryAt | None
    give_up: GiveUp | None
    stop: Stop | None
    billing: Billing
    use: Use
    usage: Usage | None
    usage_from: UsageFrom
    cost: int | None
    ttfb: float
    ttft: float | None = None
    sent: bytes | None = None
    again: AskAgain | None = None
    fall_back: FallBack | None = None
    split: Split | None = None


class Record(msgspec.Struct, array_like=True, frozen=True):
    """One record: exactly one of these is set."""

    kept: Kept | None = None
    released: Release | None = None
    continued: Continued | None = None
    settled: Settled | None = None


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Record)


def record_in(payload: bytes) -> Record:
    """Read a record. Raises msgspec.DecodeError."""
    return _DECODER.decode(payload)


def payloads(data: bytes) -> Iterator[bytes | None]:
    """Yield what each record holds; None for one whose checksum differs. A cut end is no record."""
    place = 0
    while place + _PREFIX.size <= len(data):
        size, crc = _PREFIX.unpack_from(data, place)
        place += _PREFIX.size
        if place + size > len(data):
            return
        payload = data[place : place + size]
        place += size
        yield payload if zlib.crc32(payload) == crc else None


def framed(record: Record) -> bytes:
    """Return a record as it is written: its length, a CRC-32 and MessagePack."""
    try:
        payload = _ENCODER.encode(record)
    except UnicodeEncodeError:
        payload = _ENCODER.encode(_storable(record))
    return _PREFIX.pack(len(payload), zlib.crc32(payload)) + payload


def record_of(closing: Closing) -> Record:
    """Return the record of a closing."""
    outcome, verdict = closing.outcome, closing.verdict
    return Record(
        kept=Kept(
            closing.attempt_id,
            closing.opening,
            closing.ended,
            outcome if isinstance(outcome, Reply) else None,
            outcome if isinstance(outcome, Failure) else None,
            verdict if isinstance(verdict, RetryAt) else None,
            verdict if isinstance(verdict, GiveUp) else None,
            verdict if isinstance(verdict, Stop) else None,
            closing.billing,
            closing.use,
            *(closing.usage, closing.usage_from, closing.cost, closing.ttfb, closing.ttft, closing.sent),
            verdict if isinstance(verdict, AskAgain) else None,
            verdict if isinstance(verdict, FallBack) else None,
            verdict if isinstance(verdict, Split) else None,
        )
    )


def _storable(record: Record) -> Record:
    """Replace what a provider said by text that has a UTF-8 form; the database would do the same."""
    kept, continued = record.kept, record.continued
    if continued is not None:
        said = continued.continuation
        said = said._replace(target=_text(said.target) or "", request_id=_text(said.request_id))
        return Record(continued=continued._replace(continuation=said))
    if kept is None:
        return record
    reply, failure = kept.reply, kept.failure
    if reply is not None:
        reply = reply._replace(finish=_text(reply.finish), model=_text(reply.model), request_id=_text(reply.request_id))
        reply = reply._replace(flags=tuple(_text(flag) or "" for flag in reply.flags))
    if failure is not None:
        failure = failure._replace(
            message=_text(failure.message) or "", model=_text(failure.model), request_id=_text(failure.request_id)
        )
    stop = kept.stop and kept.stop._replace(message=_text(kept.stop.message) or "")
    return Record(kept=msgspec.structs.replace(kept, reply=reply, failure=failure, stop=stop))


def _text(said: str | None) -> str | None:
    return None if said is None else said.encode("utf-8", "replace").decode()


def closing_of(kept: Kept) -> Closing:
    """Return the closing that was kept. Raises ValueError where it holds no outcome."""
    outcome = kept.reply if kept.reply is not None else kept.failure
    if outcome is None:
        raise ValueError("a spilled attempt brought neither an answer nor a failure")
    verdicts: Iterable[Verdict | None]
    verdicts = (kept.retry, kept.give_up, kept.stop, kept.again, kept.fall_back, kept.split, Succeed())
    verdict = next(verdict for verdict in verdicts if verdict is not None)
    return Closing(
        kept.attempt_id,
        kept.opening,
        kept.ended,
        outcome,
        verdict,
        kept.billing,
        kept.use,
        *(kept.usage, kept.usage_from, kept.cost, kept.ttfb, kept.ttft, kept.sent),
    )
