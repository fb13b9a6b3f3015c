"""Tells refusals that come of the rate from strays: those that come as often however little is sent."""

import math

STRAY_SHARE = 0.02
"""Of the calls, up to which refusals cut no rate that never was cut: nothing says yet that there is a limit."""
MOST_STRAYS = 0.1
"""Of all calls, however long ago: the same."""
STRAY_CALLS = 2
"""Refusals that are not enough for that either, whatever their share."""
STRAY_WINDOW = 10.0
"""Seconds over which both are taken."""
CUTS = 4
"""In a row, until refusals may be taken for strays."""
SHARE_PER_CUT = 0.025
"""Of the calls, for each cut of the row: the greater a share is, the more cuts it takes to believe in it."""
GREATEST_SHARE = 0.25
"""More than this is never taken for granted."""

_ROOM = 1.5
_SPARE = 3.0
_DEAF = 60.0


class Strays:
    """Judges a rate by the cuts that it met in a row. Amounts are requests or tokens, times monotonic seconds.

    A cut follows the one before in a row where the rate had not come back yet to what was refused then: it was lower,
    and was refused all the same. Refusals that come at the same small share after ``CUTS`` of them have nothing to do
    with the rate. That share, and half as much, is then taken for granted for a minute; after it, it has to show again.
    """

    __slots__ = ("_cuts", "_deaf_until", "_refused", "_sent", "_share", "top")

    def __init__(self) -> None:
        self.top = math.inf
        """The rate before the first cut of the row; infinite: there was none."""
        self._cuts = 0
        self._sent = self._refused = self._share = 0.0
        self._deaf_until = -math.inf

    def end_row(self) -> None:
        """Note that the rate was set by something else than a refusal."""
        self._cuts = 0

    def note_cut(self, rate: float, sent: float, refused: float, *, again: bool) -> None:
        """Note a cut of this ``rate``, after ``sent`` in all and ``refused`` since the cut before.

        ``again``: the rate was not back yet where it was refused before.
        """
        if self._cuts and again:
            self._cuts += 1
            self._refused += refused
        else:
            self.top, self._cuts, self._sent, self._refused = rate, 1, sent, 0.0

    def deaf(self, now: float) -> bool:
        """Whether a share of refusals is taken for granted now."""
        return now < self._deaf_until

    def expected(self, refused: float, sent: float, amount: float) -> bool:
        """Whether so many refusals of so much that was sent are what is taken for granted; ``amount`` is one call's."""
        return refused <= _ROOM * self._share * sent + _SPARE * amount

    def proven(self, refused: float, sent: float, now: float) -> bool:
        """Whether no cut of the row changed the share; ``sent`` in all, and ``refused`` since the last cut.

        From then on, that share is taken for granted.
        """
        since = sent - self._sent
        share = (self._refused + refused) / since if since > 0 else 1.0
        if self._cuts < CUTS or share > min(GREATEST_SHARE, SHARE_PER_CUT * self._cuts):
            return False
        self._share, self._deaf_until, self._cuts = share, now + _DEAF, 0
        return True
