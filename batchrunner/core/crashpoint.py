"""Named places at which a test may kill the process: the proof that a crash anywhere loses nothing.

``BATCHRUNNER_CRASHPOINT=write.inside:3`` ends the process, as ``kill -9`` would, at the third pass of that place.
``BATCHRUNNER_CRASHPOINT=count:FILE`` writes to FILE how often each place was passed, so that a test can ask for the
last one. Without the variable ``reached`` does nothing at all.
"""

import atexit
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

VARIABLE: Final = "BATCHRUNNER_CRASHPOINT"
KILLED: Final = 137
"""The exit code of a process that was killed with SIGKILL, as shells report it."""


def _nothing(_: str) -> None:
    return


def _counting(file: str) -> Callable[[str], None]:
    passed: Counter[str] = Counter()
    atexit.register(lambda: Path(file).write_text(json.dumps(passed), encoding="utf-8"))
    return lambda name: passed.update([name])


def _killing(name: str, times: int) -> Callable[[str], None]:
    left = times

    def reached(place: str) -> None:
        nonlocal left
        left -= place == name
        if left == 0:
            os._exit(KILLED)

    return reached


def armed(setting: str | None) -> Callable[[str], None]:
    """Return what happens at each place under this setting; nothing where there is none, or one that can't be read."""
    what, _, rest = (setting or "").partition(":")
    if what == "count" and rest:
        return _counting(rest)
    return _killing(what, int(rest)) if rest.isascii() and rest.isdigit() and int(rest) > 0 else _nothing


reached: Callable[[str], None] = armed(os.environ.get(VARIABLE))
"""Say that a named place was reached."""
