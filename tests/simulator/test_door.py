"""The small public door."""

from __future__ import annotations

import subprocess
import sys

import pytest

from batchrunner import simulator


def test_every_public_name_is_there():
    assert all(getattr(simulator, name) is not None for name in simulator.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = simulator.nothing


def test_the_core_needs_no_aiohttp_and_no_other_room():
    code = (
        "import sys, batchrunner; before = set(sys.modules); import batchrunner.simulator as s; "
        "new = set(sys.modules) - before; "
        "print([n for n in sorted(new) if n.split('.')[0] in ('aiohttp', 'httpx', 'anyio') or "
        "(n.startswith('batchrunner.') and not n.startswith('batchrunner.simulator'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"
