"""A lane's rate of requests or tokens: as a person set it, as the provider's headers say, or learned from refusals."""

import math
from typing import Literal

from batchrunner.core.hints import LONGEST_STALL
from batchrunner.core.ratelimit import LastMinute, Reservation, TokenBucket

Rate = float | Literal["auto"] | None

TICK = 0.25
"""Seconds between two steps of growth."""
BACKOFF = 0.9
"""Of the accepted rate, after a refusal."""
PLATEAU = 15.0
"""Seconds of use after a cut until the rate is back where it was refused; from there it grows ever faster."""
FIRST_PLATEAU = 3.0
"""Seconds until then after the very first cut: it goes by what a burst let through, which says little."""
PLATEAU_CALLS = 60.0
"""Calls after a cut until then, where that takes longer: a search costs a refusal, and a slow lane affords fewer."""
LONGEST_PLATEAU = 120.0
"""Seconds."""
WINDOW = 3.0
"""Seconds over which the accepted rate is taken."""
WINDOW_CALLS = 20.0
"""Calls over which it is taken where they take longer, up to LONGEST_WINDOW: fewer say little of a rate."""
LONGEST_WINDOW = 30.0
"""Seconds."""
QUIET = 1.0
"""Seconds after a cut in which refusals are counted and do not cut again: the next cut goes by what they show."""
BELOW_HEADER = 0.98
"""Of what the headers allow: a clock's drift and a burst of the network's making must not be refused."""
SLOWEST = 10.0
"""Seconds that one usual call may take of a learned rate: where everything is refused, that often is tried."""
HELD = 5.0
"""Seconds for which an overload stops the growth."""

_NOISY_CUTS = 4
_NOISY_RATE = 5.0
_NOISE = 0.1
_DEAF = 60.0


class LearnedRate:
    """A bucket, or none yet, and what moves its rate. Amounts are requests or tokens, rates are per second.

    Until something is refused nothing is limited. The first refusal sets the rate to nine tenths of what was accepted
    in the last seconds. From there it grows along a cubic curve (RFC 9438, TCP's CUBIC; botocore's adaptive mode moves
    a rate so): slowly around the rate that was refused last, then ever faster in search of a limit that was raised. It
    grows only while it is used up. Headers set the rate at once and bound it. All times are monotonic seconds.

    Refusals that come at the same small share however far the rate falls have nothing to do with it: after some cuts
    in a row that changed nothing, the rate is restored and such a share is taken for granted for a minute.
    """

    __slots__ = (
        "_age", "_auto", "_began", "_cap", "_cut_at", "_deaf_until", "_ever", "_held", "_hint_at", "_made", "_noise",
        "_peak", "_plateau", "_refusals", "_refused", "_row", "_row_ever", "_row_refused", "_ticked", "_top",
        "_window", "bucket", "seen", "sent", "tick_at", "who",
    )  # fmt: skip

    def __init__(self, limit: Rate, now: float, *, learned: float = 0.0) -> None:
        """``limit`` is per minute, ``auto`` or None for no limit; ``learned`` the rate per second of an earlier run."""
        self.bucket: TokenBucket | None = None
        """None: not limited."""
        self.seen = LastMinute()
        """What was admitted, for people and for the accepted rate; corrected once the real amounts are known."""
        self.sent = 0.0
        """All that was ever admitted, as it was reserved. Whoever admits counts it here and in ``seen``."""
        self.who = ""
        """Who set the limit, for people; empty where there is none."""
        self.tick_at = math.inf
        """When ``tick`` is to be called next."""
        self._made: TokenBucket | None = None
        self._refusals = LastMinute()
        self._auto = False
        self.tune(limit, now)
        if self._auto and 0 < learned < 1e12:
            self._rise_from(learned, now, PLATEAU)

    def tune(self, limit: Rate, now: float) -> None:
        """Set the limit anew, per minute, ``auto`` or None; ``auto`` begins without any."""
        self._auto = limit == "auto"
        self._cap: float | None = None
        self._peak = self._age = self._refused = 0.0
        self._cut_at = self._hint_at = self._held = self._deaf_until = -math.inf
        self._row, self._row_ever, self._row_refused, self._top, self._noise = 0, 0.0, 0.0, 0.0, 0.0
        self._plateau, self._window = FIRST_PLATEAU, WINDOW
        self._began, self._ever = now, self.sent
        self._ticked, self.tick_at = now, math.inf
        if limit is None or limit == "auto":
            self.bucket, self.who = None, ""
        else:
            self.who = "you"
            self._set(float(limit) / 60, now)

    @property
    def per_minute(self) -> float | None:
        """Return the limit in force; None where there is none."""
        return None if self.bucket is None else self.bucket.rate * 60

    @property
    def learned(self) -> float:
        """Return the rate per second that was learned, 0 where none was."""
        return self.bucket.rate if self._auto and self.bucket is not None and self.who == "learned" else 0.0

    def accepted(self, now: float) -> float:
        """Return what was accepted per second lately, since the last cut where that is newer."""
        since = now - self._cut_at
        window = self._window
        if since == math.inf and now - self._began < window:
            # A provider's bucket is full at first, as a rule by a second of its rate.
            return max(0.0, self.sent - self._ever - self._refused) / (1.0 + now - self._began)
        if since < window:
            return max(0.0, self.sent - self._ever - self._refused) / max(since, TICK)
        return max(0.0, self.seen.recent(now, window) - self._refusals.recent(now, window)) / window

    def settle(self, reservation: Reservation, real: float, longest_debt: float) -> None:
        """Replace a reserve by the real amount, by ``longest_debt`` seconds of rate more at most."""
        if self._made is not None:
            self._made.settle(reservation, min(real, reservation.cost + longest_debt * self._made.rate))

    def refused(self, at: float, amount: float, now: float) -> None:
        """Note that a call was refused which was admitted ``at`` and is of this ``amount``."""
        if not self._auto:
            return
        self._refusals.add(at, amount)
        if at < self._cut_at:
            return
        self._refused += amount
        if now < self._cut_at + QUIET or self._is_noise(now):
            return
        self._cut(amount, now)

    def overloaded(self, now: float) -> None:
        """Note that the provider lacks capacity, although we are within our rate: growth stops for a while."""
        self._held = now + HELD

    def follow(self, rate: float, at: float, amount: float, now: float) -> None:
        """Note what the reply to a call that was admitted ``at`` says is allowed per second.

        An older reply never overrules a newer one. The rate never falls so low that a call of this ``amount`` would
        have to wait for more than a minute.
        """
        if not self._auto or at < self._hint_at or not 0 < rate < 1e12:
            return
        self._hint_at = at
        cap = max(BELOW_HEADER * rate, amount / LONGEST_STALL)
        if cap == self._cap:
            return
        self._cap = cap
        self._peak, self._age, self._plateau, self._cut_at = cap, PLATEAU, PLATEAU, now
        self._ever, self._refused, self._row = self.sent, 0.0, 0
        self._set(cap, now)
        self.who, self._ticked, self.tick_at = "provider's header", now, now + TICK

    def tick(self, now: float) -> None:
        """Let the rate grow, if it is used up."""
        passed = now - self._ticked
        self._ticked, self.tick_at = now, now + TICK
        bucket = self.bucket
        if bucket is None or not self._auto:
            self.tick_at = math.inf
            return
        if now < self._held or bucket.level(now) > 0.5 * bucket.burst + 1:
            return
        self._age += min(passed, SLOWEST)
        rate = self._peak * (1 + (1 - BACKOFF) * ((self._age - self._plateau) / self._plateau) ** 3)
        self._grow_to(max(rate, bucket.rate), now)

    # ------------------------------------------------------------------------------------------------------- its parts

    def _grow_to(self, rate: float, now: float) -> None:
        if self._cap is not None and rate >= self._cap:
            rate, self.who = self._cap, "provider's header"
        if self.bucket is not None and rate != self.bucket.rate:
            self._set(rate, now)

    def _rise_from(self, peak: float, now: float, plateau: float, amount: float = 0.0) -> None:
        """Begin the curve below ``peak``; it is there again after ``plateau`` seconds of use, a slow lane later."""
        self._peak, self._age, self._cut_at = peak, 0.0, now
        self._plateau = min(LONGEST_PLATEAU, max(plateau, PLATEAU_CALLS * amount / peak))
        self._window = min(LONGEST_WINDOW, max(WINDOW, WINDOW_CALLS * amount / peak))
        self._ever, self._refused = self.sent, 0.0
        self._set(BACKOFF * peak, now)
        self.who, self._ticked, self.tick_at = "learned", now, now + TICK

    def _cut(self, amount: float, now: float) -> None:
        accepted = self.accepted(now)
        peak = accepted
        if self.bucket is not None:
            sent = self.sent - self._ever
            share = min(1.0, self._refused / sent) if sent > 0 else 1.0
            peak = min(self.bucket.rate * (1 - share), max(1.15 * accepted, amount / SLOWEST))
            self._note_row(now)
        peak = max(peak, amount / SLOWEST)
        if self.bucket is None:
            self._rise_from(peak, now, FIRST_PLATEAU)
        else:
            self._rise_from(peak, now, PLATEAU, amount)
        if self.bucket is not None:
            self.bucket.spend(now, max(0.0, self.bucket.level(now)))

    def _note_row(self, now: float) -> None:
        """Count the cuts that follow each other closely, and what was sent and refused meanwhile."""
        if self._row and now - self._cut_at < SLOWEST:
            self._row += 1
        else:
            self._row, self._row_ever, self._row_refused = 1, self._ever, 0.0
            self._top = self.bucket.rate if self.bucket is not None else 0.0
        self._row_refused += self._refused

    def _is_noise(self, now: float) -> bool:
        """Whether refusals come at a small share that no cut has changed."""
        if now < self._deaf_until:
            sent = self.sent - self._ever
            return self._refused <= 2 * self._noise * sent + 3
        sent = self.sent - self._row_ever
        share = (self._row_refused + self._refused) / sent if sent > 0 else 1.0
        if self._row < _NOISY_CUTS or self._top < _NOISY_RATE or share > _NOISE:
            return False
        self._noise, self._deaf_until, self._row = share, now + _DEAF, 0
        self._peak, self._age, self._plateau, self._cut_at = self._top, PLATEAU, PLATEAU, now
        self._ever, self._refused = self.sent, 0.0
        self._grow_to(self._top, now)
        return True

    def _set(self, rate: float, now: float) -> None:
        if self._made is None:
            self._made = TokenBucket(rate, now)
        else:
            self._made.retune(now, rate)
        self.bucket = self._made
