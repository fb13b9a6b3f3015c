"""What is made of a good answer: whether it has the form that its request asked for, and if it is asked for again."""

from typing import NamedTuple

from batchrunner.core.attempt import Reply
from batchrunner.core.flags import CUT_OFF, FILTERED, REFUSED, UNCHECKED, Flags, word_of
from batchrunner.core.request import Opened
from batchrunner.core.retry import AskAgain
from batchrunner.endpoints.base import BadBody
from batchrunner.endpoints.registry import BY_PATH
from batchrunner.endpoints.schemas import MissingExtraError, Schemas
from batchrunner.endpoints.structured import FORMS, MARK, Fault, fault, raised

_WITHHELD = frozenset({FILTERED, REFUSED})


class Wishes(NamedTuple):
    """What a person wants done about answers that are not what was asked for. Each asking costs what a call costs."""

    repairs: int = 0
    """How often a request is asked again whose answer does not have the form that it asked for."""
    raise_cap: float | None = None
    """By how much the output bound is multiplied when an answer was cut off, once; None: never."""


NO_WISHES = Wishes()


class Judging:
    """Judges the answers of one run. ``problems`` holds what people should know of it at the end."""

    def __init__(self, wishes: Wishes = NO_WISHES) -> None:
        self._wishes = wishes
        self._schemas: Schemas | None = None
        self._looked = False
        self.problems: tuple[str, ...] = ()

    def concerns(self, opened: Opened, reply: Reply) -> bool:
        """Whether there is anything to judge; cheap, since there is not for almost all answers."""
        return bool(reply.flags) or MARK in opened.body

    def judge(self, path: str, opened: Opened, reply: Reply, now: int) -> tuple[Reply, AskAgain | None]:
        """Return the answer with all its flags, and how to ask again where that is wished for."""
        words = {word_of(flag) for flag in reply.flags}
        if CUT_OFF in words:
            return reply, self._longer(path, opened, now)  # never simply resent, and no wonder if it is no JSON
        forms = FORMS.get(path)
        if forms is None or words & _WITHHELD:
            return reply, None
        wanted = forms.wanted(opened.body)
        if wanted is None:
            return reply, None
        found = fault(forms, opened.body, reply.body, self._checker() if wanted.schema is not None else None)
        if found is None:
            return reply, None
        reply = reply._replace(flags=_with(reply.flags, found.flag))
        return reply, self._better(path, opened, found, now)

    def _better(self, path: str, opened: Opened, found: Fault, now: int) -> AskAgain | None:
        """Ask for a better answer, and say what is wrong with this one."""
        if opened.repairs >= self._wishes.repairs or word_of(found.flag) == UNCHECKED:
            return None
        body = FORMS[path].again(opened.body, found.said, found.flag.partition(": ")[2] or "it is empty")
        return _ask(path, body, now, raised=False)

    def _longer(self, path: str, opened: Opened, now: int) -> AskAgain | None:
        """Ask for a longer answer, once."""
        if self._wishes.raise_cap is None or opened.raises:
            return None
        body = raised(opened.body, self._wishes.raise_cap)
        return None if body is None else _ask(path, body, now, raised=True)

    def _checker(self) -> Schemas | None:
        if not self._looked:
            self._looked = True
            try:
                self._schemas = Schemas()
            except MissingExtraError as missing:
                self.problems = (f"{missing.message}; {missing.hint}",)
        return self._schemas


def _with(flags: Flags, found: str) -> Flags:
    return flags if found in flags else (*flags, found)


def _ask(path: str, body: bytes, now: int, *, raised: bool) -> AskAgain | None:
    try:
        facts = BY_PATH[path].inspect(body)
    except BadBody:
        return None  # what was appended made it a body that is never sent
    return AskAgain(max(1, now), body, facts.est_in, facts.max_out, raised)
