"""A provider in a box: Together's and OpenAI's wire formats on loopback, with limits, faults and a ledger of its own.

It imports nothing else of this program, and nothing else of this program parses what it sends with its code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchrunner.simulator.faults import KINDS, parse_faults
from batchrunner.simulator.ledger import Entry, Ledger, read_ledger
from batchrunner.simulator.provider import FaultFor, Provider
from batchrunner.simulator.settings import Settings
from batchrunner.simulator.verdicts import Answer
from batchrunner.simulator.windows import Window, worst_window

if TYPE_CHECKING:
    from batchrunner.simulator.server import serve

__all__ = [
    "KINDS",
    "Answer",
    "Entry",
    "FaultFor",
    "Ledger",
    "Provider",
    "Settings",
    "Window",
    "parse_faults",
    "read_ledger",
    "serve",
    "worst_window",
]


def __getattr__(name: str) -> Any:
    """Import the server, and aiohttp with it, only when it is asked for."""
    if name == "serve":
        from batchrunner.simulator.server import serve

        return serve
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
