"""Tokens and seconds of a call before it is made, and what the answers teach about such guesses."""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from batchrunner.core.usage import TOKENS, Usage

BYTES_PER_TOKEN = 4
LEARNED_AFTER = 20
"""Answers after which a learned figure replaces the guess."""
ASSUMED_OUTPUT = 512
"""Output tokens of a call that sets no bound, until the lane has learned better."""

_MEMORY = 200
"""Answers over which a learned figure forgets."""
_MOST_TOKENS = 10_000_000
"""Of one answer; what is above that is a provider's mistake, and nothing is learned from it."""

_ASCII = bytes(range(0x80))
_THREE_BYTES = bytes(range(0xE0, 0xF0))
_FOUR_BYTES = bytes(range(0xF0, 0x100))


class Tokenizer(Protocol):
    """Counts tokens exactly, as one family of models does."""

    def counts(self, texts: Sequence[str], *, special: bool) -> list[int]:
        """Return the tokens of each text; ``special``: with those that its model puts before and behind a text."""
        ...


def tokens(text: bytes) -> int:
    """Return about how many tokens a UTF-8 text is; per-message overhead is the endpoint's to add.

    The rule: four ASCII characters are a token, so are two characters of two bytes (Cyrillic, Greek, Arabic, accents)
    and one of three bytes (Chinese, Japanese, Korean, Thai, the scripts of India); one of four bytes (emoji) is two.
    It promises never to fall below a quarter of the bytes, rounded up. Since a byte-level tokenizer never makes more
    than one token of a byte, ``upper`` of it is a true upper bound for such a text.
    """
    if text.isascii():
        return -(-len(text) // BYTES_PER_TOKEN)
    wide = text.translate(None, _ASCII)
    three = len(wide) - len(wide.translate(None, _THREE_BYTES))
    four = len(wide) - len(wide.translate(None, _FOUR_BYTES))
    # In quarters of a token every byte weighs one at first: a character of three bytes lacks one, one of four four.
    return -(-(len(text) + three + 4 * four) // BYTES_PER_TOKEN)


def upper(est_in: int) -> int:
    """Return the most input tokens that a text estimated at ``est_in`` can have: as many as it has bytes at most.

    It holds for byte-level tokenizers and text; images and what a provider adds to the prompt by itself are not in it.
    """
    return BYTES_PER_TOKEN * est_in


def deadline(max_out: int | None) -> float:
    """Return the seconds a call may take: a minute and ten tokens a second, two minutes at least, an hour at most.

    A deadline that is too short is the expensive side: the answer is paid for and never received. Ten minutes where the
    body sets no bound.
    """
    if max_out is None:
        return 600.0
    return min(max(60 + max_out / 10, 120.0), 3600.0)


class _Ratio:
    """Real by guessed, as the ratio of two means that forget: the sum of corrected guesses is to be right, not each."""

    __slots__ = ("answers", "guessed", "real")

    def __init__(self) -> None:
        self.answers = 0.0
        self.real = 0.0
        self.guessed = 0.0

    def observe(self, real: float, guessed: float) -> None:
        self.answers += 1
        weight = 1 / min(self.answers, _MEMORY)
        self.real += (real - self.real) * weight
        self.guessed += (guessed - self.guessed) * weight

    def value(self, default: float) -> float:
        return self.real / self.guessed if self.answers >= LEARNED_AFTER else default


class Calibration:
    """What the answers of one lane teach: real by estimated input, real by allowed output, output where none is set."""

    __slots__ = ("_input", "_length", "_output")

    def __init__(self, learned: Mapping[str, float] | None = None) -> None:
        """Go on from what ``learned`` returned once; what can't be true of it is forgotten."""
        self._input = _restored(learned or {}, "input")
        self._output = _restored(learned or {}, "output")
        self._length = _restored(learned or {}, "length")

    def observe(self, est_in: int, max_out: int | None, usage: Usage) -> None:
        """Learn from an answer to a call with this estimate and bound."""
        if not 0 <= usage.input <= _MOST_TOKENS or not 0 <= usage.output <= _MOST_TOKENS:
            return
        if not usage.input and not usage.output and any(usage[TOKENS:]):
            return  # it was counted in other units: that says nothing of tokens
        if est_in > 0:
            self._input.observe(usage.input, est_in)
        if max_out is None:
            self._length.observe(usage.output, 1)
        elif max_out > 0:
            self._output.observe(usage.output, max_out)

    def input(self, est_in: int) -> float:
        """Return the input tokens to expect."""
        return est_in * self._input.value(1.0)

    def output(self, max_out: int | None) -> float:
        """Return the output tokens to expect: a learned part of the bound, or the learned length where none is set."""
        if max_out is None:
            return self._length.value(ASSUMED_OUTPUT)
        return max_out * self._output.value(1.0)

    @property
    def answered(self) -> bool:
        """Whether enough answers came for the input to be no guess any more."""
        return self._input.answers >= LEARNED_AFTER

    def outputs(self, bounded: int, unbounded: int, *, share: float, length: float) -> float:
        """Return the output tokens to expect of many calls: of the sum of their bounds, and of so many without one.

        ``share`` of a bound and ``length`` of an answer are assumed where nothing was learned.
        """
        return bounded * self._output.value(share) + unbounded * self._length.value(length)

    def learned(self) -> dict[str, float]:
        """Return what was learned as plain figures, to be kept for the next run."""
        return {
            f"{name}_{part}": getattr(ratio, part)
            for name, ratio in (("input", self._input), ("output", self._output), ("length", self._length))
            for part in _Ratio.__slots__
        }


def _restored(learned: Mapping[str, float], name: str) -> _Ratio:
    ratio = _Ratio()
    answers, guessed, real = (figure(learned.get(f"{name}_{part}")) for part in _Ratio.__slots__)
    if answers >= 1 and guessed > 0 and real >= 0:
        ratio.answers, ratio.guessed, ratio.real = answers, guessed, real
    return ratio


def figure(kept: object) -> float:
    """Return a kept figure, -1 where it is none: it comes from a file that anything may have happened to."""
    return float(kept) if isinstance(kept, int | float) and math.isfinite(kept) else -1.0
