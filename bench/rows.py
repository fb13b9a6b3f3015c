"""Job files of any length: chat calls over made-up support tickets, the same for the same seed.

python bench/rows.py 10000 -o job.jsonl --ids uuid
"""

import argparse
import json
import random
import uuid
from collections.abc import Iterator
from pathlib import Path

MODEL = "meta-llama/Llama-3.3-70B-Instruct-Turbo"
SYSTEM = "Classify the ticket: name its category and its urgency, then suggest a short answer."
IDS = ("ascending", "uuid")

WHO = ("The customer", "A new user", "Our partner in Lisbon", "The finance team", "An administrator", "The night shift")
DID = ("reports", "noticed", "writes again", "found out", "complains", "asks us to explain", "can show", "suspects")
WHAT = (
    "that the invoice lists the same seat twice", "that the export stops after the third file",
    "why the weekly report arrived without its attachments", "that two-factor codes come several minutes late",
    "that a deleted project still appears in the search", "how the discount of the annual plan is worked out",
    "that uploads over two gigabytes fail with no message", "why the dashboard shows yesterday's numbers",
    "that the webhook was called four times for one order", "that the shared calendar lost every second entry",
)  # fmt: skip
WHEN = (
    "since Monday",
    "after the last update",
    "on every second attempt",
    "for all members of the team",
    "in one region",
)
SO = (
    "Please answer before noon.", "They have attached a screenshot.", "It was closed once already.",
    "Nothing in the logs stands out.", "A refund was mentioned.", "They are patient, but a renewal is due.",
    "The workaround from the handbook did not help.", "It blocks their month-end closing.",
)  # fmt: skip


def sentences(dice: random.Random, count: int = 2000) -> list[str]:
    """Return a stock of sentences to make texts of."""
    parts = (WHO, DID, WHAT, WHEN)
    return [f"{' '.join(dice.choice(part) for part in parts)}. {dice.choice(SO)} " for _ in range(count)]


def bodies(count: int, *, size: int = 600, seed: int = 1) -> Iterator[str]:
    """Yield ``count`` chat bodies of exactly ``size`` bytes (ASCII), no two alike."""
    dice = random.Random(seed)
    stock = sentences(dice)
    empty = {
        "model": MODEL,
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "@"}],
        "max_tokens": 256,
        "temperature": 0.2,
    }
    before, after = json.dumps(empty, separators=(",", ":")).split("@")
    room = size - len(before) - len(after)
    if room < 40:
        raise ValueError(f"a body of {size} bytes leaves no room for a text; at least {size - room + 40} are needed")
    for number in range(count):
        text = f"Ticket {number:08d}: {''.join(dice.choices(stock, k=room // 60 + 1))}"
        yield f"{before}{text[:room]:.<{room}}{after}"


def custom_ids(count: int, ids: str, *, seed: int = 1) -> Iterator[str]:
    """Yield custom_ids in ascending order, or random UUIDs: the worst case for an index."""
    dice = random.Random(seed + 1)
    for number in range(count):
        yield f"row-{number:09d}" if ids == "ascending" else str(uuid.UUID(int=dice.getrandbits(128), version=4))


def lines(count: int, *, ids: str = "ascending", size: int = 600, whole: bool = False, seed: int = 1) -> Iterator[str]:
    """Yield job lines with bodies of ``size`` bytes; with ``whole``, ``size`` is that of the line with its newline."""
    shape = '{{"custom_id":"{}","method":"POST","url":"/v1/chat/completions","body":{}}}\n'
    envelope = len(shape.format(next(custom_ids(1, ids)), "")) if whole else 0
    pairs = zip(custom_ids(count, ids, seed=seed), bodies(count, size=size - envelope, seed=seed), strict=True)
    return (shape.format(custom_id, body) for custom_id, body in pairs)


def write_job(path: Path, count: int, *, ids: str = "ascending", size: int = 600, whole: bool = False) -> Path:
    """Write a job file and return its path."""
    with path.open("w", encoding="ascii", buffering=1 << 20) as file:
        file.writelines(lines(count, ids=ids, size=size, whole=whole))
    return path


def write_bodies(path: Path, count: int) -> Path:
    """Write the same bodies as ``write_job`` does, one a line and nothing else: what a bare client reads."""
    with path.open("w", encoding="ascii", buffering=1 << 20) as file:
        file.writelines(f"{body}\n" for body in bodies(count))
    return path


def main() -> None:
    """Write a job file."""
    parser = argparse.ArgumentParser(description="Write a job file of made-up chat calls.")
    parser.add_argument("count", type=int)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--ids", choices=IDS, default="ascending")
    parser.add_argument("--size", type=int, default=600, help="bytes of a body")
    given = parser.parse_args()
    write_job(given.output, given.count, ids=given.ids, size=given.size)
    print(f"{given.output}: {given.count:,} lines, {given.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
