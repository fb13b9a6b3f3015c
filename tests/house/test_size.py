"""Modules and functions stay small enough to be read in one go."""

import pytest

from tests.house.tree import functions, name_of, package_modules

MOST_LINES_IN_A_MODULE = 300
MOST_LINES_IN_A_FUNCTION = 60

# Sinners on their way out: "path" or "path:function" with the reason. It only ever gets shorter.
TOLERATED: dict[str, str] = {}


@pytest.mark.parametrize("path", package_modules(), ids=name_of)
def test_a_module_fits_the_house(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES_IN_A_MODULE or name_of(path) in TOLERATED, "is there a second room in it?"


@pytest.mark.parametrize("path", package_modules(), ids=name_of)
def test_a_function_fits_a_screen(path):
    long = [
        f"{name} ({lines} lines)"
        for name, lines in functions(path)
        if lines > MOST_LINES_IN_A_FUNCTION and f"{name_of(path)}:{name}" not in TOLERATED
    ]
    assert long == []
