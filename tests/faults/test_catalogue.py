"""Every row of the fault catalogue about networks and services can be found by its id."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
NAME = re.compile(r"def test_((?:[nh]\d+_)+)", re.MULTILINE)
ROWS = {*(f"n{number}" for number in range(1, 30)), *(f"h{number}" for number in range(1, 25))}
ELSEWHERE: dict[str, str] = {}
"""Rows whose tests have no such name, and why."""


def test_every_row_has_a_test_named_after_it_or_a_reason() -> None:
    named = {
        row
        for path in TESTS.rglob("test_*.py")
        for ids in NAME.findall(path.read_text(encoding="utf-8"))
        for row in ids.rstrip("_").split("_")
    }
    assert ROWS - named <= ELSEWHERE.keys()
    assert {"n16", "h20"} <= named
