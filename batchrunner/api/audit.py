"""Double entry: a database's calls, answers and money, held against the books of a provider in a box.

Only the look for damage is the store's; everything else is read and compared here and in ``books``.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

from batchrunner.api.books import Attempt, Row, Sheet, mark_of
from batchrunner.core.pricing import PICO, cost_of, dollars, whole_picos
from batchrunner.core.usage import OTHERS, Usage
from batchrunner.store.check import check

if TYPE_CHECKING:
    from batchrunner.simulator import Entry

MOST_SHOWN = 20
"""Breaches of one claim that are told; the rest is counted."""
WITH_FINGERPRINT = ("/v1/chat/completions", "/v1/completions")
"""Endpoints whose answers carry the hash of the call that they answer."""
ROWS_OWN = ("invalid_request", "context_length", "content_filter", "response_too_large", "expired")
"""Failures that end a row at once: because of what is in it, or since what it bought is gone."""


class Claim(NamedTuple):
    """One thing that must hold, and every way in which it does not."""

    name: str
    """``I1`` and so on, as the project's list of invariants has them."""
    words: str
    """What was compared, with its figures."""
    broken: tuple[str, ...]
    """Each breach in words; empty where the claim holds."""


def audit(db: str | PathLike[str], calls: Iterable["Entry"], *, running: bool = False) -> list[Claim]:
    """Return what must hold between a database and its provider's ledger, each claim with its breaches.

    ``calls`` are all entries of the ledger. ``running`` allows open attempts: a runner lives. Raises sqlite3.Error or
    DatabaseError for a database that can't be read at all.
    """
    sheet = Sheet(db, calls)
    return [
        _claim("I1", _states_in_words(sheet), _states(sheet, running=running)),
        _claim("I3", f"{len(sheet.answers):,} answers, each on its own row", _misplaced(sheet)),
        _claim("I4", _calls_in_words(sheet), _miscounted(sheet)),
        _claim("money", _money_in_words(sheet), _misbilled(sheet)),
        _claim("tries", "no row failed that was not refused for itself or broken at every try", _innocent(sheet)),
        _claim("I7", "the database is sound: pages, references, checksums, sums", iter(check(db))),
    ]


def _claim(name: str, words: str, breaches: Iterator[str]) -> Claim:
    shown = list(islice(breaches, MOST_SHOWN))
    more = sum(1 for _ in breaches)
    return Claim(name, words, (*shown, *([f"... and {more:,} more"] if more else [])))


def _states_in_words(sheet: Sheet) -> str:
    states = Counter(row.state for row in sheet.rows.values())
    return f"{len(sheet.rows):,} rows: {', '.join(f'{n:,} {state}' for state, n in sorted(states.items())) or 'none'}"


def _states(sheet: Sheet, *, running: bool) -> Iterator[str]:
    for name, lines, rows in sheet.lines:
        if lines != rows:
            yield f"job {name!r} has {rows:,} rows for {lines:,} lines"
    if running:
        return
    for key, row in sheet.rows.items():
        if row.state == "running":
            yield f"{sheet.label(key)} is running, and no runner lives"
    for attempt in sheet.attempts.values():
        if attempt.ended is None and not attempt.goes_on:
            yield f"attempt {attempt.id} of {sheet.label(attempt.request_id)} is open, and no runner lives"


def _misplaced(sheet: Sheet) -> Iterator[str]:
    answered = {request_id for request_id, _, _ in sheet.answers}
    for key, row in sheet.rows.items():
        if row.copy_of is not None:
            yield from _unlike(sheet, key, row)
        if (row.state == "succeeded") != ((row.copy_of or key) in answered):
            yield f"{sheet.label(key)} is {row.state} {'with' if key in answered else 'without'} an answer"
    for request_id, attempt_id, fingerprint in sheet.answers:
        row, attempt = sheet.rows[request_id], sheet.attempts.get(attempt_id)
        sent = row.sha256 if attempt is None else sheet.sent(attempt)
        if row.endpoint in WITH_FINGERPRINT and fingerprint != f"fp_{sent[:12]}":
            yield f"{sheet.label(request_id)} holds the answer to another call ({fingerprint or 'no fingerprint'})"
        if attempt is None or attempt.request_id != request_id or attempt.outcome != "reply":
            yield f"{sheet.label(request_id)} holds the answer of attempt {attempt_id}, which brought it none"


def _unlike(sheet: Sheet, key: int, row: Row) -> Iterator[str]:
    """Yield how a copy differs from what it is a copy of."""
    original = sheet.rows.get(row.copy_of or 0)
    if original is None or original.sha256 != row.sha256 or original.endpoint != row.endpoint:
        yield f"{sheet.label(key)} is a copy of another body"
    elif original.state in ("succeeded", "failed") and original.state != row.state:
        yield f"{sheet.label(key)} is {row.state}, and what it is a copy of is {original.state}"


def _calls_in_words(sheet: Sheet) -> str:
    outcomes = Counter(attempt.outcome or "open" for attempt in sheet.attempts.values())
    told = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(outcomes.items()))
    return f"{len(sheet.calls):,} calls received, {len(sheet.attempts):,} in our ledger ({told or 'none'})"


def _miscounted(sheet: Sheet) -> Iterator[str]:
    for mark, number in Counter(call.client_request_id for call in sheet.calls).items():
        if number > 1:
            yield f"attempt {mark} was sent {number:,} times"
    for call in sheet.calls:
        attempt = sheet.attempts.get(mark_of(call))
        if attempt is None:
            yield f"call {call.number} ({call.client_request_id}) is in no ledger of ours"
        else:
            yield from _differing(sheet, call, attempt)
    for attempt in sheet.attempts.values():
        if attempt.id not in sheet.by_attempt and not _may_be_missing(attempt):
            yield f"attempt {attempt.id} ({attempt.outcome}, {attempt.failure}) never arrived, and may be on the bill"


def _differing(sheet: Sheet, call: "Entry", attempt: Attempt) -> Iterator[str]:
    where = f"call {call.number} of {sheet.label(attempt.request_id)}"
    if not call.body_sha256.startswith(sheet.sent(attempt)):
        yield f"{where} carried another row's body"
    if attempt.outcome == "reply" and not (call.status == 200 and call.written and call.billed):
        yield f"{where} was not answered ({call.status}, {call.fault}), and we hold its answer"
    if attempt.status is not None and attempt.status != call.status:
        yield f"{where} was answered {call.status}, and we wrote down {attempt.status}"
    if call.billed and attempt.billing == "not_billed":
        yield f"{where} ({call.fault}) was billed, and we say that it was not ({attempt.failure})"


def _may_be_missing(attempt: Attempt) -> bool:
    """Whether an attempt explains itself why the provider saw nothing of it."""
    return attempt.outcome in (None, "lost") or attempt.billing == "not_billed" or attempt.failure == "interrupted"


def _innocent(sheet: Sheet) -> Iterator[str]:
    good: Counter[int] = Counter()
    for attempt in sheet.attempts.values():
        call = sheet.by_attempt.get(attempt.id)
        if call is not None and attempt.ended is not None and call.fault is None and call.status == 200:
            good[attempt.request_id] += attempt.outcome != "lost"
    for key, row in sheet.rows.items():
        if row.state == "quarantined":
            yield f"{sheet.label(key)} is quarantined"
        if row.state == "failed" and row.failure not in ROWS_OWN and good[key]:
            yield f"{sheet.label(key)} failed ({row.failure}), and the provider had answered it well"


def _money_in_words(sheet: Sheet) -> str:
    known = sum(attempt.cost or 0 for attempt in sheet.attempts.values() if attempt.usage_from == "provider")
    risk = sum(attempt.hold or 0 for attempt in sheet.attempts.values() if attempt.billing == "unknown")
    return f"{dollars(known)} recorded, to the token what the provider counted; {dollars(risk)} possibly billed"


def _misbilled(sheet: Sheet) -> Iterator[str]:
    yield from _unshown(sheet)
    for attempt_id, call in sheet.by_attempt.items():
        attempt = sheet.attempts.get(attempt_id)
        if attempt is not None and call.billed:
            yield from _mispriced(sheet, call, attempt)


def _mispriced(sheet: Sheet, call: "Entry", attempt: Attempt) -> Iterator[str]:
    where = f"attempt {attempt.id} of {sheet.label(attempt.request_id)}"
    real = _billed(call)
    cost = cost_of(sheet.cards.get(attempt.rate_id or 0), real)
    if attempt.usage_from == "provider":
        ours = (attempt.tin, attempt.tcached, attempt.tout)
        if ours != (real.input, real.cached, real.output):
            yield f"{where}: {ours} tokens here, {(real.input, real.cached, real.output)} on the provider's bill"
        yield from _counted_differently(where, attempt.usage, real)
    if attempt.usage_from == "provider" or (attempt.usage_from == "estimated" and _needs_no_guess(real)):
        if cost is not None and attempt.cost != cost:
            yield f"{where}: {attempt.cost} pico-dollars here, {cost} on the provider's bill"
    elif attempt.billing == "unknown" and cost is not None:
        if attempt.hold is None and _was_foreseeable(real, bounded=sheet.rows[attempt.request_id].bounded):
            yield f"{where}: what it may cost was not written down, and could be known; {cost} are on the bill"
        elif attempt.hold is not None and cost > attempt.hold:
            yield f"{where}: at most {attempt.hold} pico-dollars were feared, {cost} are on the bill"


def _unshown(sheet: Sheet) -> Iterator[str]:
    """Yield how the attempts of unknown cost differ from those that ``costs`` shows as unpriced: unknown is never 0."""
    known = {"billed": "cost", "unknown": "hold"}
    ended = [attempt for attempt in sheet.attempts.values() if attempt.ended is not None and attempt.billing in known]
    unknown = sum(getattr(attempt, known[attempt.billing or ""]) is None for attempt in ended)
    if unknown != sheet.unpriced:
        yield f"{unknown:,} attempts cost an unknown sum, and {sheet.unpriced:,} are shown as unpriced"


def _billed(call: "Entry") -> Usage:
    """Return what the provider says that a call used, as our arithmetic reads it."""
    usage = Usage(call.input_tokens, call.cached_tokens, call.output_tokens)
    units = call.units
    if units is None:
        return usage
    pixels = units.images * units.width * units.height
    return usage._replace(
        images=units.images,
        pixels=pixels,
        pixel_steps=pixels * units.steps,
        milliseconds=units.milliseconds,
        characters=units.characters,
        searches=units.searches,
        audio_input=units.audio_input,
        audio_output=units.audio_output,
        image_input=units.image_input,
        image_output=units.image_output,
        cost=None if units.stated_usd is None else whole_picos(units.stated_usd, PICO, "call"),
    )


def _counted_differently(where: str, ours: Usage, real: Usage) -> Iterator[str]:
    """Yield each unit that was counted here otherwise than there; what was not counted here at all is no difference."""
    for name in OTHERS:
        here, there = getattr(ours, name), getattr(real, name)
        if here and here != there:
            yield f"{where}: {name} {here:,} here, {there:,} on the provider's bill"


def _was_foreseeable(real: Usage, *, bounded: bool) -> bool:
    """Whether the worst case of a call could be known before: what the provider states itself only its answer tells."""
    return real.cost is None and (bounded or _needs_no_guess(real))


def _needs_no_guess(real: Usage) -> bool:
    """Whether a call is billed by what its body asks for: then an estimate of it is no guess."""
    return bool(real.pixels or real.characters) and not real.total


def shown(claims: Iterable[Claim]) -> list[str]:
    """Return every breach of these claims as a line: ``I4: ...``."""
    return [f"{claim.name}: {breach}" for claim in claims for breach in claim.broken]
