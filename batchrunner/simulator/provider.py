"""The provider in a box: a request goes in, an answer comes out, the ledger knows. No sockets, no sleeping.

Written from the providers' wire formats and from nothing of this program, so that a format misread by the program
cannot agree with itself here. The clock is handed in; under a virtual clock the provider lives in virtual time.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, get_args

import msgspec

from batchrunner.simulator import answers, asking, catalogue, errors, neighbours, verdicts
from batchrunner.simulator.answers import Work
from batchrunner.simulator.calls import Call, Endpoint
from batchrunner.simulator.errors import Refusal
from batchrunner.simulator.faults import BODY_KINDS, STREAM_KINDS, WIRE_KINDS, befalling, check_kind, dice, draw_fault
from batchrunner.simulator.headers import limit_headers, retry_after
from batchrunner.simulator.ledger import Ledger
from batchrunner.simulator.limits import Limiter
from batchrunner.simulator.looks import Looks, is_look
from batchrunner.simulator.routes import ROUTES, route_of
from batchrunner.simulator.settings import Settings
from batchrunner.simulator.verdicts import Answer, Arrival, Verdict

FaultFor = Callable[[int, str, bytes], str | None]
"""Given number, path and body of a call, names its fault; None leaves it to the settings."""

_ENDPOINTS: Final = frozenset(get_args(Endpoint))
_LONG_AGO: Final = 64
"""So many answers ago a call is over, and what its caller was sent can be sent again (`double`)."""
_AFTER_SERVING: Final = (WIRE_KINDS | BODY_KINDS | STREAM_KINDS) - {"billed500"}


class Provider:
    """Serves calls by `settings`. Not thread-safe; one event loop (or none) drives it."""

    def __init__(
        self,
        settings: Settings | None = None,
        now: Callable[[], float] = time.monotonic,  # noqa: TID251  # for a real socket; tests hand in theirs
        wall: Callable[[], float] = time.time,  # noqa: TID251  # the same
        *,
        fault_for: FaultFor | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        """`now` gives seconds for limits, outages and the ledger, `wall` Unix seconds for dates and `created`."""
        self.now = now
        self.wall = wall
        self.started = now()
        self.ledger = Ledger() if ledger is None else ledger
        self.fault_for = fault_for
        self._settings = Settings() if settings is None else settings
        self._limiter = Limiter(self._settings)
        self._number = 0
        self._authorized = 0
        self._looks = Looks()
        self._earlier: dict[str, deque[Verdict]] = {}

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings

    def change(self, settings: Settings) -> None:
        """Go on with other settings from now on. Buckets keep their levels, counters their counts."""
        self._settings = settings
        self._limiter.retune(settings, self.now())

    def out(self) -> bool:
        """Whether an outage is on."""
        since = self.now() - self.started
        return any(start <= since < end for start, end in self._settings.outages)

    def refusing(self) -> bool:
        """Whether no connection should be accepted now."""
        return self._settings.outage_kind == "refused" and self.out()

    def handle(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, served_on_connection: int = 0
    ) -> Answer:
        """Take one request (header names in lower case) and say what to answer.

        The call counts as in flight until `finish` is given the answer's number. `served_on_connection` is how many
        requests the same connection carried before.
        """
        self._number += 1
        bare, route = route_of(path)
        sha256 = hashlib.sha256(body).hexdigest()
        arrival = Arrival(
            number=self._number,
            time=self.now(),
            wall=self.wall(),
            method=method,
            path=bare,
            route=route,
            query=path.partition("?")[2],
            headers=headers,
            body=body,
            sha256=sha256,
            seen=self.ledger.seen(sha256),
        )
        fault = self._fault(arrival)
        verdict = self._dropped(fault, served_on_connection) or self._judge(arrival, fault)
        self.ledger.receive(verdicts.entry_of(arrival, verdict))
        return verdicts.answer_of(arrival, verdict, self._settings, self._delay(arrival, verdict))

    def finish(self, number: int, *, written: bool = True, sent: int = 0) -> None:
        """The answer with this number has left, in full or not; `sent` are the bytes of its body that did."""
        self.ledger.finish(number, written=written, now=self.now(), sent=sent)

    def _fault(self, arrival: Arrival) -> str | None:
        if arrival.method != "POST" and not is_look(arrival.route):
            return None
        if self.fault_for is not None:
            kind = self.fault_for(arrival.number, arrival.path, arrival.body)
            if kind is not None:
                check_kind(kind)
                return kind
        settings = self._settings
        return (
            None
            if arrival.method != "POST"
            else draw_fault(
                settings.faults,
                seed=settings.seed,
                by=settings.fault_by,
                number=arrival.number,
                body_sha256=arrival.sha256,
                seen=arrival.seen,
            )
        )

    def _dropped(self, fault: str | None, served_on_connection: int) -> Verdict | None:
        if self.refusing():
            return verdicts.unread("refused", "refused")
        limit = self._settings.keepalive_close
        if limit is not None and 0 < limit <= served_on_connection:
            return verdicts.unread("keepalive_race", "close_before")
        if fault == "keepalive_race" and served_on_connection:
            return verdicts.unread("keepalive_race", "close_before")
        return None

    def _judge(self, arrival: Arrival, fault: str | None) -> Verdict:
        settings = self._settings
        if self.out():
            return self._refused(arrival, errors.overloaded(settings.flavour, settings.retry_after), fault="outage")
        known = None if self._is_foreign(arrival.route) else ROUTES.get(arrival.route)
        if known is None:
            return self._look(arrival, fault)
        method, route = known
        if method != arrival.method:
            return self._refused(arrival, errors.wrong_method(arrival.method, arrival.path))
        refusal = self._judge_key(arrival)
        if refusal is not None:
            return self._refused(arrival, refusal)
        if route not in _ENDPOINTS:
            return self._listed(arrival, route)
        if len(arrival.body) > settings.max_body_bytes and not asking.is_form(arrival):  # a form has a cap of its own
            return self._refused(arrival, errors.too_large())
        call = asking.read(arrival, route, settings)  # type: ignore[arg-type]  # one of _ENDPOINTS
        if isinstance(call, Refusal):
            return self._refused(arrival, call)
        return self._admit(arrival, call, fault)

    def _is_foreign(self, route: str) -> bool:
        return self._settings.flavour == "together" and route in neighbours.ROUTES

    def _look(self, arrival: Arrival, fault: str | None) -> Verdict:
        """A download, for which nobody needs a key, or a question after a job; else there is nothing there."""
        if not is_look(arrival.route):
            return self._refused(arrival, errors.unknown_path(arrival.method, arrival.path))
        refusal = self._judge_key(arrival) if self._looks.needs_key(arrival.route) else None
        if refusal is None and fault is not None and fault[:3].isdecimal():
            refusal = self._injected(fault, "")
        found = refusal or self._looks.find(arrival, self._settings, fault)
        return self._refused(arrival, found, fault=fault) if isinstance(found, Refusal) else found

    def _judge_key(self, arrival: Arrival) -> Refusal | None:
        settings = self._settings
        if settings.keyless:
            return None
        scheme, _, key = arrival.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            return errors.unauthorized(settings.flavour, missing=True)
        if settings.api_key is not None and key.strip() != settings.api_key:
            return errors.unauthorized(settings.flavour, missing=False)
        if settings.revoke_after is not None and self._authorized >= settings.revoke_after:
            return errors.unauthorized(settings.flavour, missing=False)
        if arrival.method == "POST":
            self._authorized += 1
        return None

    def _turned_away(self, arrival: Arrival, model: str, fault: str | None) -> Verdict | None:
        """A refusal before the call's own size is looked at."""
        settings = self._settings
        if settings.credit_calls is not None and self.ledger.totals["billed"] >= settings.credit_calls:
            return self._refused(arrival, errors.no_credit(settings.flavour), model=model)
        if settings.capacity is not None and self.ledger.in_flight >= settings.capacity:
            return self._refused(arrival, errors.overloaded(settings.flavour, settings.retry_after), model=model)
        if fault == "429":
            return self._refused(arrival, self._injected(fault, model), model=model, fault=fault)
        if fault == "redirect":
            return Verdict(status=307, headers={"Location": settings.redirect_to}, fault=fault, model=model)
        return None

    def _admit(self, arrival: Arrival, call: Call, fault: str | None) -> Verdict:
        settings, model = self._settings, call.model
        turned_away = self._turned_away(arrival, model, fault)
        if turned_away is not None:
            return turned_away
        work = answers.plan(call, settings)
        refused = self._limiter.admit(model, work.admission_tokens, arrival.time)
        if refused is not None:
            limits = settings.limits_of(model)
            refusal = errors.rate_limited(
                settings.flavour, settings.limit_type, model, refused.by, limits, refused.wait
            )
            return self._refused(arrival, refusal, model=model)
        if fault is None or fault == "keepalive_race":
            return self._served(arrival, work, None)
        if fault in _AFTER_SERVING:
            return self._served(arrival, work, fault)
        if fault == "error200":
            return Verdict(status=200, body=errors.error_in_200(), fault=fault, admitted=True, model=model, work=work)
        refusal = self._injected("500" if fault == "billed500" else fault, model)
        return self._refused(arrival, refusal, model=model, fault=fault, work=work)

    def _injected(self, kind: str, model: str) -> Refusal:
        settings = self._settings
        return errors.injected(kind, settings.flavour, settings.limit_type, model, settings.retry_after)

    def _refused(
        self, arrival: Arrival, refusal: Refusal, *, model: str = "", fault: str | None = None, work: Work | None = None
    ) -> Verdict:
        settings = self._settings
        call_id = answers.call_id(settings, "", arrival.sha256, arrival.seen)
        content_type, body = errors.render(refusal, settings.flavour, call_id)
        extra = {"x-request-id": call_id}
        if refusal.wait is not None and (refusal.status != 503 or settings.retry_after_on_503):
            extra |= retry_after(settings.retry_after_style, refusal.wait, arrival.wall)
        if model:
            extra |= limit_headers(self._limiter.buckets(model, arrival.time), settings, arrival.time)
        return Verdict(
            status=refusal.status,
            content_type=content_type,
            body=body,
            headers=extra,
            fault=fault,
            admitted=work is not None,
            billed=fault == "billed500",
            model=model,
            work=work,
        )

    def _served(self, arrival: Arrival, work: Work, fault: str | None) -> Verdict:
        settings, endpoint = self._settings, work.call.endpoint
        call_id = answers.call_id(settings, endpoint, arrival.sha256, arrival.seen)
        made = self._looks.make(work, settings, arrival, call_id)
        buckets = self._limiter.buckets(work.call.model, arrival.time)
        extra = {"x-request-id": call_id, **limit_headers(buckets, settings, arrival.time)}
        fault = befalling(fault, endpoint, streamed=work.call.streamed)
        verdict = verdicts.served(work, made.answer, answers.usage_of(work, settings), fault, extra, settings)
        if made.sound is not None:
            verdict = verdicts.as_bytes(verdict, *made.sound)
        if made.free:
            verdict = replace(verdict, billed=False)
        earlier = self._earlier.setdefault(endpoint, deque(maxlen=_LONG_AGO))
        if fault == "double" and len(earlier) == _LONG_AGO:
            return verdicts.doubled(verdict, earlier[0])
        if fault is None:
            earlier.append(verdict)
        return verdict

    def _listed(self, arrival: Arrival, route: str) -> Verdict:
        found = catalogue.listed(route, arrival.query, self._settings)
        if isinstance(found, Refusal):
            return self._refused(arrival, found)
        return Verdict(status=200, body=msgspec.json.encode(found))

    def _delay(self, arrival: Arrival, verdict: Verdict) -> float:
        settings = self._settings
        if not verdict.billed:
            return settings.refusal_latency if verdict.processed else 0.0
        delay = 0.0
        if settings.latency:
            throw = dice("latency", settings.seed, arrival.sha256, arrival.seen)
            delay = settings.latency * (1 + settings.latency_jitter * (2 * throw - 1))
        if settings.tokens_per_second is not None and verdict.work is not None and not verdict.pieces:
            delay += verdict.work.output_tokens / settings.tokens_per_second
        return delay
