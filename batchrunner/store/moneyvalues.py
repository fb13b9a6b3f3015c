"""What the books bring through the store's seam: values, each a plain tuple. Import them from ``store.base``."""

from typing import NamedTuple

from batchrunner.core.pricing import RateCard
from batchrunner.core.usage import Usage


class CostRow(NamedTuple):
    """The four sums of one slice, in pico-dollars, and what they are made of. They are never mixed."""

    key: tuple[str | None, ...]
    """Its part of each slice; None of a tag: what has no such tag, which is nobody's."""
    attempts: int
    succeeded: int
    input: int
    cached: int
    output: int
    reasoning: int
    recorded: int
    """Used answers, priced by the provider's own usage."""
    estimated: int
    """Used answers without usage, priced by our estimate."""
    possibly_billed: int
    """The holds of attempts that may have been billed: timeouts, resets after sending, 5xx, lost attempts."""
    wasted: int
    """Billed attempts whose answer was not used."""
    unpriced: int
    """Billed or possibly billed attempts without a known cost: their model has no price, or no worst case."""
    images: int = 0
    """Pictures made; this and what follows is what else was counted beside the tokens, or of them."""
    pixels: int = 0
    milliseconds: int = 0
    characters: int = 0
    searches: int = 0
    pixel_steps: int = 0
    audio_input: int = 0
    audio_output: int = 0
    image_input: int = 0
    image_output: int = 0
    wasted_estimated: int = 0
    """Of ``wasted``, what is known by our estimate only; the rest is by the provider's own usage."""
    doubtful: int = 0
    """Attempts that ``possibly_billed`` and ``unpriced`` are about: nobody knows whether they were billed."""


class ChargeRow(NamedTuple):
    """What was certainly billed of one day, job, model, rate card and tags: the grain of an export for finance."""

    day: int
    job_id: int
    job: str
    lane_id: int
    provider: str
    model: str
    endpoint: str
    account: str
    processing: str
    """``live`` or ``batch``."""
    used: bool
    """Whether the answers were of use."""
    reported: bool
    """Whether the provider counted the usage; else it is our estimate."""
    rate_id: int | None
    card: RateCard | None
    """What these attempts were priced by; None: nothing, or what the provider stated itself."""
    above: int
    """The tier of the card: each of their prompts had more tokens; 0: none."""
    tags: tuple[tuple[str, str], ...]
    usage: Usage
    """The sums of all units; its ``cost`` is None."""
    attempts: int
    unpriced: int
    """Of these attempts, those of unknown cost."""
    cost: int
    """Pico-dollars of those of known cost."""


class Billed(NamedTuple):
    """One billed attempt: what it used, and what was booked for it."""

    key: tuple[str | None, ...]
    """Its part of each slice that was asked for, as ``CostRow`` has it."""
    provider: str
    model: str
    processing: str
    """``live`` or ``batch``."""
    use: str
    usage_from: str
    cost: int | None
    """Pico-dollars; None: unknown."""
    usage: Usage | None
    """None: not known."""
