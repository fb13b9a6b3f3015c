"""What ``costs`` says, for tests that hold it against something else."""

import json
from decimal import Decimal
from typing import Any

from tests.e2e.place import Place


def pico(usd: str) -> int:
    value = Decimal(usd) * 10**12
    assert value == value.to_integral_value()
    return int(value)


def costs(place: Place, *words: str) -> dict[str, Any]:
    ended = place.run("costs", "--db", "q.db", "--json", *words)
    assert ended.code == 0, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found
