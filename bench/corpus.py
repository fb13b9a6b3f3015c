"""A corpus of any length: short questions of customers, a fifth of them asked before; the same for the same seed.

Every row is worked out from its number alone, so that a corpus of ten million costs no memory, and a check can ask for
any row again. Lengths follow the curve of real questions to a bank (log-normal: half are below 47 characters, one in
twenty is above 150).

python bench/corpus.py 10000 -o corpus.jsonl
"""

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

GROUP = 5
"""One row of so many repeats an earlier one: 20 %."""
MEDIAN, SPREAD = 47, 0.55
"""Of the lengths in characters, and sigma of their logarithm."""
LONGEST = 430
_MASK = (1 << 64) - 1
_LENGTHS = [round(MEDIAN * math.exp(SPREAD * NormalDist().inv_cdf((n + 0.5) / 1024))) for n in range(1024)]

ASKS = (
    "How do I", "Can I", "Why can't I", "Where do I go to", "What do I need to", "Is it possible to", "When can I",
    "I forgot how to", "Please help me", "Is there a fee to", "Who do I ask to", "I tried twice to",
)  # fmt: skip
DOES = (
    "change the limit of", "cancel", "track", "see the details of", "get a receipt for", "repeat", "dispute", "freeze",
    "pay off", "rename", "share", "find the terms of",
)  # fmt: skip
WHATS = (
    "transfer", "card", "invoice", "top-up", "standing order", "cash withdrawal", "refund", "exchange into €",
    "booking at Café Größe", "payment to José", "savings pot", "virtual card",
)  # fmt: skip
TAILS = (
    "from yesterday", "before the weekend", "with the app", "without a PIN", "from abroad", "for my partner",
    "although it says pending", "since the last update", "and is that free of charge", "on my old phone",
    "because the amount is wrong", "or do I have to call you", "as the rate has changed again", "in the branch",
    "that my employer has sent", "after it was declined in a shop",
)  # fmt: skip


class Row(NamedTuple):
    """One text of the corpus."""

    id: str
    text: str
    first: int
    """The number of the row that says the same first: its own, or that of an earlier one."""


def corpus(count: int, *, seed: int = 1) -> Iterator[Row]:
    """Yield ``count`` rows; of every five, one says what an earlier one said, and the others what none did."""
    return (row(number, seed=seed) for number in range(count))


def row(number: int, *, seed: int = 1) -> Row:
    """Return one row of the corpus by its number, counted from 0."""
    group, place = divmod(number, GROUP)
    repeats = _repeating(group, seed)
    first = number
    if place == repeats:
        share = (_dice(seed, 2, number) / _MASK) ** 2  # what was asked early is asked again more often
        first = _fresh(int(share * (group * (GROUP - 1) + place)), seed)
    return Row(f"q-{number:09d}", _text(first, seed), first)


def distinct(count: int) -> int:
    """Return how many different texts the first ``count`` rows hold, where ``count`` is a multiple of five."""
    return count // GROUP * (GROUP - 1)


def write_corpus(path: Path, count: int, *, seed: int = 1) -> Path:
    """Write the corpus as JSON lines with ``id`` and ``text``; return its path."""
    with path.open("w", encoding="utf-8", buffering=1 << 20) as file:
        file.writelines(
            f'{{"id":"{each.id}","text":{json.dumps(each.text, ensure_ascii=False)}}}\n'
            for each in corpus(count, seed=seed)
        )
    return path


def _repeating(group: int, seed: int) -> int:
    """Which place of a group repeats; the very first group has nothing to repeat before its end."""
    return _dice(seed, 1, group) % GROUP if group else GROUP - 1


def _fresh(nth: int, seed: int) -> int:
    """The number of the row that holds the n-th text that was new."""
    group, place = divmod(nth, GROUP - 1)
    return group * GROUP + place + (place >= _repeating(group, seed))


def _text(number: int, seed: int) -> str:
    """A question about a case of its own, grown to a length on the curve."""
    dice = _dice(seed, 3, number)
    wanted = min(_LENGTHS[dice & 1023], LONGEST)
    dice >>= 10
    dice, ask = divmod(dice, len(ASKS))
    dice, does = divmod(dice, len(DOES))
    dice, what = divmod(dice, len(WHATS))
    text = f"{ASKS[ask]} {DOES[does]} {WHATS[what]} {_mark(number)}"
    while len(text) + 8 < wanted:
        dice = dice or _dice(seed, 4, number + len(text))
        dice, tail = divmod(dice, len(TAILS))
        text = f"{text} {TAILS[tail]}"
    return f"{text}?"


def _mark(number: int) -> str:
    """The number in the letters and digits of a case number: no two rows have the same."""
    digits = "0123456789ABCDEFGHJKLMNPQRTUVWXY"
    mark = ""
    while number or not mark:
        number, digit = divmod(number, 32)
        mark = digits[digit] + mark
    return mark


def _dice(*parts: int) -> int:
    """64 bits that depend on the numbers and on nothing else (the finaliser of splitmix64, once for each)."""
    mixed = 0
    for part in parts:
        mixed = (mixed + part + 0x9E3779B97F4A7C15) & _MASK
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        mixed ^= mixed >> 31
    return mixed


def main() -> None:
    """Write a corpus."""
    parser = argparse.ArgumentParser(description="Write a corpus of made-up questions, a fifth of them twice.")
    parser.add_argument("count", type=int)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    write_corpus(given.output, given.count, seed=given.seed)
    print(f"{given.output}: {given.count:,} texts, {given.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
