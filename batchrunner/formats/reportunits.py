"""What calls used beside plain tokens, by model: pictures, sound, characters, searches."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from batchrunner.core.figures import Figures, Slice
from batchrunner.core.tariff import HOUR, MEGAPIXEL
from batchrunner.formats.markup import Html, element
from batchrunner.formats.reportcells import number, tokens
from batchrunner.formats.reporttables import MOST_ROWS, Head, merged, name_of, table


class _Unit(NamedTuple):
    name: str
    """What it is called in a usage."""
    heading: str
    shown: Callable[[int], Html]


def _in(whole: int) -> Callable[[int], Html]:
    """Return what shows an amount in a larger unit, to a tenth; its value stays the amount itself."""

    def shown(amount: int) -> Html:
        tenths = (20 * amount + whole) // (2 * whole)
        told = f"{tenths // 10:,}.{tenths % 10}" if tenths else "<0.1" if amount else "0"
        return element("data", told, value=amount, class_=None if amount else "nil")

    return shown


_UNITS: Final = (
    _Unit("images", "Pictures", number),
    _Unit("pixels", "Megapixels", _in(MEGAPIXEL)),
    _Unit("milliseconds", "Minutes", _in(HOUR // 60)),
    _Unit("characters", "Characters", number),
    _Unit("searches", "Searches", number),
    _Unit("audio_input", "Audio in", tokens),
    _Unit("audio_output", "Audio out", tokens),
    _Unit("image_input", "Pictures in", tokens),
    _Unit("image_output", "Pictures out", tokens),
)
"""The last four are parts of the tokens."""


def other_units(figures: Figures) -> Html:
    """Return the models that used any of these units, a column for each unit that there is; nothing where none was."""
    units = [unit for unit in _UNITS if getattr(figures.total, unit.name)]
    if not units:
        return Html("")
    using = [one for one in figures.models if any(getattr(one, unit.name) for unit in units)]
    order = sorted(using, key=lambda one: (-one.recorded, -one.estimated, one.key))

    def cells(one: Slice) -> Sequence[Html]:
        return [unit.shown(getattr(one, unit.name)) for unit in units]

    rows = [[name_of(one.key[0]), *cells(one)] for one in order[:MOST_ROWS]]
    rest = order[MOST_ROWS:]
    foot = [[f"{len(rest):,} more", *cells(merged((), rest))]] if rest else []
    heads = [Head("Model", figures=False), *(Head(unit.heading) for unit in units)]
    among = "; audio and pictures in and out are among the tokens" if any(one.shown is tokens for one in units) else ""
    return table("units", f"Other units by model{among}", heads, rows, foot=[*foot, ["Total", *cells(figures.total)]])
