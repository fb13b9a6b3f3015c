"""`import batchrunner` is the one door: everything public is in `__all__`, and opening it costs nothing heavy."""

import importlib.metadata
import subprocess
import sys
import types

import pytest

import batchrunner

HEAVY = ("sqlalchemy", "alembic", "aiohttp", "httpx", "rich", "anyio")


def test_all_equals_the_public_names():
    rooms = {name for name, value in vars(batchrunner).items() if isinstance(value, types.ModuleType)}
    names = {name for name in dir(batchrunner) if not name.startswith("_")} - rooms
    assert names == {name for name in batchrunner.__all__ if not name.startswith("_")}


def test_all_is_sorted_and_without_repeats():
    assert list(batchrunner.__all__) == sorted(set(batchrunner.__all__))


def test_every_public_name_is_there_and_explained():
    things = {name: getattr(batchrunner, name) for name in batchrunner.__all__}
    assert [name for name, thing in things.items() if callable(thing) and not thing.__doc__] == []


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        batchrunner.no_such_name  # noqa: B018  (the access is the test)


def test_the_version_is_the_installed_one():
    assert batchrunner.__version__ == importlib.metadata.version("batchrunner")


def test_importing_the_package_imports_nothing_heavy():
    code = f"import sys, batchrunner; print(*(name for name in {HEAVY} if name in sys.modules))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert child.stdout.split() == []
