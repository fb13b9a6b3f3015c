"""Between rows and core values: the few columns that hold JSON, and jobs as a whole."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from operator import add
from typing import Any

from batchrunner.core.job import Job, JobOptions, JobSource, JobState
from batchrunner.core.pricing import RateCard
from batchrunner.core.usage import OTHERS, Usage

COMPOSED, WITH_FILES = 1, 2
"""The ``codec`` of a body that is not what is sent, but what that is made of at send time; 0: it is sent as it is."""
PACK = 3
"""The ``codec`` of a body that is a pack of a corpus: it is sent as it is, and its answer is read as vectors."""

MOST_MONEY = 2**56
"""Pico-dollars, 72,000 dollars: a call that would cost more has no known cost. A sum holds 9.2 million dollars."""

Tags = tuple[tuple[str, str], ...]


def id_list(ids: Sequence[int]) -> str:
    """Return ids as the JSON list that SQLite's ``json_each`` reads."""
    return "[" + ",".join(map(str, ids)) + "]"


def storable(pico: int | None) -> int | None:
    """Return an amount of money as it is stored: None where it can't be true."""
    return pico if pico is None or pico < MOST_MONEY else None


def text_list(texts: Sequence[str]) -> str:
    """Return texts as the JSON list that SQLite's ``json_each`` reads."""
    return json.dumps(list(texts), ensure_ascii=False)


def tags_text(tags: Tags) -> str:
    """Return tags as one JSON object, in their order."""
    return json.dumps(dict(tags), ensure_ascii=False, separators=(",", ":"))


def tags_value(text: str) -> Tags:
    """Return tags as they were before ``tags_text``."""
    return tuple(json.loads(text).items())


def job_columns(key: str, name: str, source: JobSource, options: JobOptions, tags: Tags) -> dict[str, Any]:
    """Return the columns of a job that its file and its settings decide."""
    return {
        "key": key,
        "name": name,
        "provider": options.provider,
        "options": json.dumps(asdict(options), ensure_ascii=False, separators=(",", ":")),
        "tags": tags_text(tags),
        **source_columns(source),
    }


def source_columns(source: JobSource) -> dict[str, Any]:
    """Return the columns of a job that say which file it was loaded from."""
    return asdict(source)


def job_value(row: Mapping[str, Any]) -> Job:
    """Return a row of ``jobs`` as a Job."""
    options = json.loads(row["options"])
    options["settings"] = tuple((key, value) for key, value in options["settings"])
    return Job(
        id=row["id"],
        key=row["key"],
        name=row["name"],
        source=JobSource(path=row["path"], sha256=row["sha256"], size=row["size"], mtime_ns=row["mtime_ns"]),
        options=JobOptions(**options),
        state=JobState(row["state"]),
        lines=row["lines"],
        created=row["created"],
        tags=tags_value(row["tags"]),
    )


def workload_units(rows: Iterable[Sequence[int]]) -> tuple[Usage, ...]:
    """Return sums of units, in the order of ``OTHERS``, as usages; those of equal steps a picture become one."""
    found: dict[int, Usage] = {}
    for row in rows:
        one = Usage(**dict(zip(OTHERS, row, strict=True)))
        steps = one.pixel_steps // one.pixels if one.pixels else 0
        found[steps] = Usage(*map(add, found[steps][:-1], one[:-1])) if steps in found else one
    return tuple(found.values())


def rate_columns(card: RateCard) -> dict[str, Any]:
    """Return a frozen rate card as a row; equal cards have equal digests."""
    return {
        "digest": card.digest(),
        "provider": card.provider,
        "model": card.model,
        "valid_from": card.valid_from,
        "card": json.dumps(asdict(card), ensure_ascii=False, separators=(",", ":")),
    }
