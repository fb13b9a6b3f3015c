"""Modules and functions stay small enough to be read in one go."""

from tests.house.tree import functions, name_of, package_modules

MOST_LINES_IN_A_MODULE = 300
MOST_LINES_IN_A_FUNCTION = 60

# Sinners on their way out: "path" or "path:function" with the reason. It only ever gets shorter.
TOLERATED: dict[str, str] = {}


def test_modules_fit_the_house():
    long = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in package_modules()}
    found = {name: n for name, n in long.items() if n > MOST_LINES_IN_A_MODULE and name not in TOLERATED}
    assert found == {}, "is there a second room in it?"


def test_functions_fit_a_screen():
    found = [
        f"{name_of(path)}:{name} ({lines} lines)"
        for path in package_modules()
        for name, lines in functions(path)
        if lines > MOST_LINES_IN_A_FUNCTION and f"{name_of(path)}:{name}" not in TOLERATED
    ]
    assert found == []
