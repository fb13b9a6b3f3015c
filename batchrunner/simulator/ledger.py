"""The provider's own books: one entry per request received. The truth that a client's ledger is checked against."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from batchrunner.simulator.bill import Units
from batchrunner.simulator.windows import Window, worst_window

_SUMMED = frozenset({"images", "milliseconds", "characters", "searches", "audio_input", "audio_output"})
Weight = Literal["requests", "tokens", "real_tokens"]


class Entry(msgspec.Struct, kw_only=True):
    """One request received. Only `written` and `finished` change after it was entered."""

    number: int
    time: float
    """When it was received, seconds of the provider's clock."""
    wall: float
    """The same in Unix seconds."""
    method: str
    path: str
    model: str = ""
    status: int
    """The status answered; 0 if no byte was."""
    fault: str | None = None
    """What the fault plan (or an outage) did to it."""
    processed: bool = True
    """False if it was dropped unread: a race on a kept-alive connection, a refused connection."""
    request_bytes: int
    body_sha256: str
    client_request_id: str | None = None
    """The header X-Client-Request-Id."""
    key_fingerprint: str | None = None
    """First 12 hex digits of the SHA-256 of the Authorization header; never the key."""
    retry_count: int = 0
    """The header x-stainless-retry-count."""
    billed: bool = False
    usage: dict[str, Any] | None = None
    """The usage that the whole answer carried, None if it carried none or did not arrive whole."""
    admitted: bool = False
    """Passed the rate limits."""
    admission_tokens: int = 0
    """What it took from the token bucket."""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    """Tokens really processed and billed; 0 if it is not billed."""
    texts: int = 0
    """Texts that it embedded; 0 if it is not billed. A text that comes twice, in one call or in two, counts twice."""
    units: Units | None = None
    """What it took beside its tokens; None if nothing, or if it is not billed."""
    charge: int | None = None
    """Pico-dollars; None if it is not billed, or its model has no price."""
    in_flight: int = 0
    """Calls in flight when it arrived, itself included."""
    written: bool | None = None
    """Whether the answer was written in full; None while it is in flight."""
    finished: float | None = None
    """When it left the provider, seconds of the provider's clock."""
    streamed: bool = False
    """Answered as a stream of events."""
    sent_bytes: int = 0
    """Bytes of the answer's body that left, as far as the carrier tells (the server does, but for faults of the wire).
    """


class Ledger:
    """Entries in order of arrival, and totals that stay exact when old entries are dropped."""

    def __init__(self, path: Path | str | None = None, keep: int | None = None) -> None:
        """With `path`, each entry is also appended there as a JSON line: when it arrives (before any byte is answered)
        and again when it is finished, so that nothing is missing if a process is killed; see `read_ledger`. `keep`
        bounds the entries held in memory; None keeps all.
        """
        self.entries: deque[Entry] = deque(maxlen=keep)
        self.in_flight = 0
        self.highest_concurrency = 0
        self.totals: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()
        self.charges: Counter[str] = Counter()
        """Pico-dollars by path."""
        self.units: Counter[str] = Counter()
        self._bodies: Counter[str] = Counter()
        self._unread: Counter[str] = Counter()
        self._open: dict[int, Entry] = {}
        # Unbuffered: one write(2) per line, so that a killed process leaves whole lines.
        self._file = None if path is None else Path(path).open("ab", buffering=0)  # noqa: SIM115

    def seen(self, body_sha256: str) -> int:
        """How often this very body arrived so far, read or not."""
        return self._bodies.get(body_sha256, 0)

    def receive(self, entry: Entry) -> None:
        """Enter a request. It counts as in flight until `finish`."""
        self.in_flight += 1
        entry.in_flight = self.in_flight
        self.highest_concurrency = max(self.highest_concurrency, self.in_flight)
        self.entries.append(entry)
        self._open[entry.number] = entry
        self._count(entry)
        self._write(entry)

    def finish(self, number: int, *, written: bool, now: float, sent: int = 0) -> None:
        """Close the entry `number`: its answer was written in full, or not. A second time does nothing."""
        entry = self._open.pop(number, None)
        if entry is None:
            return
        self.in_flight -= 1
        entry.written, entry.finished, entry.sent_bytes = written, now, sent
        self.totals["written" if written else "unwritten"] += 1
        self._write(entry)

    def duplicates(self) -> dict[str, int]:
        """How often each body was processed, for the bodies that were more than once."""
        counts = ((body, count - self._unread.get(body, 0)) for body, count in self._bodies.items() if count > 1)
        return {body: count for body, count in counts if count > 1}

    def worst_window(
        self,
        rate: float,
        burst: float,
        *,
        weight: Weight = "requests",
        model: str | None = None,
        admitted_only: bool = False,
    ) -> Window:
        """The window with the largest `amount - rate * T - burst` over all windows of the entries held.

        `rate` is per second. `weight`: requests, the tokens charged at admission, or the tokens really used. By default
        every processed call counts as received, refused ones too; `admitted_only` leaves those out.
        """
        return worst_window(self._events(weight, model, admitted_only), rate, burst)

    def worst_excess(
        self,
        rate: float,
        burst: float,
        *,
        weight: Weight = "requests",
        model: str | None = None,
        admitted_only: bool = False,
    ) -> float:
        """The excess of `worst_window`: at most 0 if `rate * T + burst` held in every window."""
        return worst_window(self._events(weight, model, admitted_only), rate, burst).excess

    def stats(self) -> dict[str, Any]:
        """Totals as JSON types."""
        repeats = [count - 1 for count in self.duplicates().values()]
        used = ("input_tokens", "cached_tokens", "output_tokens", "texts")
        names = ("requests", "processed", "billed", *used, "retries")
        return {
            **{name: self.totals[name] for name in (*names, "written", "unwritten")},
            "in_flight": self.in_flight,
            "highest_concurrency": self.highest_concurrency,
            "repeated_bodies": len(repeats),
            "repeated_calls": sum(repeats),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "faults": dict(sorted(self.faults.items())),
            "unpriced": self.totals["unpriced"],
            "units": dict(sorted(self.units.items())),
            "pico_usd": dict(sorted(self.charges.items())),
        }

    def json_lines(self) -> bytes:
        """All entries held, as JSON lines."""
        return msgspec.json.Encoder().encode_lines(list(self.entries))

    def close(self) -> None:
        """Close the file, if there is one; calls still in flight are entered as not written."""
        for number, entry in list(self._open.items()):
            self.finish(number, written=False, now=entry.time)
        if self._file is not None:
            self._file.close()
            self._file = None

    def _count(self, entry: Entry) -> None:
        self.totals["requests"] += 1
        self.statuses[entry.status] += 1
        if entry.fault is not None:
            self.faults[entry.fault] += 1
        if entry.retry_count:
            self.totals["retries"] += 1
        if entry.method == "POST":
            self._bodies[entry.body_sha256] += 1
            if not entry.processed:
                self._unread[entry.body_sha256] += 1
        if entry.processed:
            self.totals["processed"] += 1
        if entry.billed:
            self.totals["billed"] += 1
            self.totals["input_tokens"] += entry.input_tokens
            self.totals["cached_tokens"] += entry.cached_tokens
            self.totals["output_tokens"] += entry.output_tokens
            self.totals["texts"] += entry.texts
            self._bill(entry)

    def _bill(self, entry: Entry) -> None:
        if entry.charge is None:
            self.totals["unpriced"] += 1
        else:
            self.charges[entry.path] += entry.charge
        for name, amount in msgspec.to_builtins(entry.units).items() if entry.units is not None else ():
            if name in _SUMMED:
                self.units[name] += amount

    def _events(self, weight: Weight, model: str | None, admitted_only: bool) -> Iterator[tuple[float, float]]:
        for entry in self.entries:
            if model is not None and entry.model != model:
                continue
            # A dropped connection was never a request to the provider; a GET buys nothing.
            if not entry.processed or entry.method != "POST" or (admitted_only and not entry.admitted):
                continue
            if weight == "requests":
                yield entry.time, 1.0
            elif weight == "tokens":
                yield entry.time, float(entry.admission_tokens)
            else:
                yield entry.time, float(entry.input_tokens + entry.output_tokens)

    def _write(self, entry: Entry) -> None:
        if self._file is not None:
            self._file.write(msgspec.json.encode(entry) + b"\n")


def read_ledger(path: Path | str) -> list[Entry]:
    """The entries of a ledger file in order of arrival, the last line of each one; a torn last line is passed over."""
    entries: dict[int, Entry] = {}
    for line in Path(path).read_bytes().split(b"\n"):
        try:
            entry = msgspec.json.decode(line, type=Entry)
        except msgspec.DecodeError:
            continue
        entries[entry.number] = entry
    return [entries[number] for number in sorted(entries)]
