"""A lane's rate of requests or tokens: as a person set it, as the provider's headers say, or learned from refusals."""

import math
from typing import Literal

from batchrunner.core.hints import LONGEST_STALL
from batchrunner.core.ratelimit import LastMinute, Reservation, Silence, TokenBucket
from batchrunner.core.strays import MOST_STRAYS, STRAY_CALLS, STRAY_SHARE, STRAY_WINDOW, Strays

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


class LearnedRate:
    """A bucket, or none yet, and what moves its rate. Amounts are requests or tokens, rates are per second.

    Until something is refused nothing is limited. The first refusal sets the rate to nine tenths of what was accepted
    in the last seconds. From there it grows along a cubic curve (RFC 9438, TCP's CUBIC; botocore's adaptive mode moves
    a rate so): slowly around the rate that was refused last, then ever faster in search of a limit that was raised. It
    grows only while it is used up. Headers set the rate at once and bound it. All times are monotonic seconds.

    Strays, refusals that have nothing to do with the rate, do not move it: before the first cut a lone one is none, and
    a small share that some cuts in a row did not change is taken for granted; then the rate is restored.
    """

    __slots__ = (
        "_age", "_auto", "_began", "_cap", "_cut_at", "_ever", "_held", "_hint_at", "_made", "_peak", "_plateau",
        "_refusals", "_refused", "_strays", "_ticked", "_window", "bucket", "seen", "sent", "silence", "tick_at", "who",
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
        self.silence = Silence()
        """When nothing may be sent: such time says nothing of the rate. Whoever pauses the lane notes it here."""
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
        self._cut_at = self._hint_at = self._held = -math.inf
        self._strays = Strays()
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
        since, window = now - self._cut_at, self._window
        if since == math.inf and now - self._began < window:
            # A provider's bucket is full at first, as a rule by a second of its rate.
            open_for = 1.0 + self._open_for(now, now - self._began)
            return max(0.0, self.sent - self._ever - self._refused) / open_for
        if since < window:
            return max(0.0, self.sent - self._ever - self._refused) / max(self._open_for(now, since), TICK)
        open_for = self._open_for(now, window)
        if open_for < 0.5 * window:
            window = min(since, now - self._began, LONGEST_WINDOW)
            open_for = self._open_for(now, window)
        return max(0.0, self.seen.recent(now, window) - self._refusals.recent(now, window)) / max(open_for, TICK)

    def settle(self, reservation: Reservation, real: float, longest_debt: float) -> None:
        """Replace a reserve by the real amount, by ``longest_debt`` seconds of rate more at most."""
        if self._made is not None:
            self._made.settle(reservation, min(real, reservation.cost + longest_debt * self._made.rate))

    def refused(self, at: float, amount: float, now: float) -> bool:
        """Note that a call was refused which was admitted ``at`` and is of this ``amount``.

        Return whether that says something of the limits; False: it is a stray.
        """
        if not self._auto:
            return True
        self._refusals.add(at, amount)
        if at < self._cut_at:
            return not self._strays.deaf(now)
        self._refused += amount
        if self._is_stray(at, amount, now):
            return False
        if now >= self._cut_at + QUIET:
            self._cut(amount, now)
        return True

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
        self._ever, self._refused = self.sent, 0.0
        self._strays.end_row()
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

    def _open_for(self, now: float, seconds: float) -> float:
        """Return for how many of the last ``seconds`` calls could be sent."""
        return seconds - self.silence.within(now - seconds, now)

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
        again = self._age < self._plateau
        rate = math.inf if self.bucket is None else self.bucket.rate
        self._strays.note_cut(rate, self.sent, self._refused, again=again)
        if self.bucket is not None:
            sent = self.sent - self._ever
            share = min(1.0, self._refused / sent) if sent > 0 else 1.0
            peak = min(self.bucket.rate * (1 - share), max(1.15 * accepted, 0.5 * rate))
        peak = max(peak, amount / SLOWEST)
        if self.bucket is None:
            self._rise_from(peak, now, FIRST_PLATEAU)
        else:
            self._rise_from(peak, now, PLATEAU, amount)
        if self.bucket is not None:
            self.bucket.spend(now, max(0.0, self.bucket.level(now)))

    def _is_stray(self, at: float, amount: float, now: float) -> bool:
        """Whether a refusal has nothing to do with the rate; restores a rate that such ones have cut."""
        strays = self._strays
        if strays.deaf(now):
            return strays.expected(self._refused, self.sent - self._ever, amount)
        if now < self._cut_at + QUIET:
            return False
        if strays.proven(self._refused, self.sent, now):
            self._restore(strays.top, now)
            return True
        return self.bucket is None and self._is_lone(at, amount)

    def _is_lone(self, at: float, amount: float) -> bool:
        """Whether few of the calls were refused that were admitted before ``at``, and of all since the last cut."""
        lately, some = self._refusals.recent(at, STRAY_WINDOW), STRAY_CALLS * amount
        if lately > max(some, STRAY_SHARE * self.seen.recent(at, STRAY_WINDOW)):
            return False
        return self._refused <= max(some, MOST_STRAYS * (self.sent - self._ever))

    def _restore(self, rate: float, now: float) -> None:
        """Go on at the ``rate`` before some cuts, or at none; it grows soon, for strays may have made it, too."""
        self._peak, self._age, self._plateau, self._cut_at = rate, FIRST_PLATEAU, FIRST_PLATEAU, now
        self._ever, self._refused = self.sent, 0.0
        if rate < math.inf:
            self._grow_to(rate, now)
        else:
            self.bucket, self.who, self.tick_at = None, "", math.inf

    def _set(self, rate: float, now: float) -> None:
        if self._made is None:
            self._made = TokenBucket(rate, now)
        else:
            self._made.retune(now, rate)
        self.bucket = self._made
