"""What is particular about packs in the corridor: their answers, base64, and the search for texts at fault."""

from collections import defaultdict

from batchrunner.core.attempt import Failure, FailureKind, Outcome
from batchrunner.core.corpus import Asked
from batchrunner.core.http import HttpReply
from batchrunner.core.request import Opened
from batchrunner.core.retry import GiveUp, RetryAt, Split, Verdict
from batchrunner.endpoints.base import Classifier
from batchrunner.endpoints.vectors import halves, in_floats, read_vectors, refuses_base64, shared_fault

FREE_SPLITS = 64
"""Packs of a corpus that are split before any of it was embedded: what refuses all of them is no text's fault."""
SPLITS_PER_ANSWER = 8
"""Further splits that each answer allows: enough for a text at fault in every pack."""
_OF_A_TEXT = frozenset({400, 413, 422})
_NEVER_SPLIT = frozenset({FailureKind.ATTACHMENT, FailureKind.EXPIRED, FailureKind.MISCONFIGURED, FailureKind.LOST})


class Packs:
    """What one run knows of the corpora that it works on."""

    def __init__(self) -> None:
        self._dimensions: dict[int, int] = {}
        self._left: defaultdict[int, int] = defaultdict(lambda: FREE_SPLITS)

    def body(self, opened: Opened, *, floats: bool) -> bytes:
        """Return what is sent: ``floats`` where the lane does not take base64."""
        return in_floats(opened.body) if floats else opened.body

    def read(self, job_id: int, asked: Asked, sent: bytes, reply: HttpReply, classify: Classifier) -> Outcome:
        """Read an answer as vectors. The first ones of a corpus say how long all of its vectors are.

        Before them, a refusal of what all packs ask for is the corpus' fault, and no text's.
        """
        expected = asked.dimensions or self._dimensions.get(job_id)
        outcome = read_vectors(reply, classify, sent, dimensions=expected, normalize=asked.normalize)
        if isinstance(outcome, Failure):
            if expected is None and not refuses_base64(sent, outcome):
                return shared_fault(sent, outcome) or outcome
        elif outcome.vectors is not None:
            self._dimensions.setdefault(job_id, outcome.vectors.dimensions)
            self._left[job_id] += SPLITS_PER_ANSWER
        return outcome

    def judge(self, job_id: int, sent: bytes, outcome: Outcome, verdict: Verdict, now: int) -> tuple[Verdict, bool]:
        """Return the verdict on a pack, and whether it says that the lane does not take base64.

        A pack that would fail for good is halved as long as it can be, and the corpus has shown that it can be
        embedded. That costs two calls a halving, so at most ``2 * ceil(log2(texts))`` of them for a text at fault.
        """
        if not isinstance(outcome, Failure):
            return verdict, False
        if refuses_base64(sent, outcome):
            return RetryAt(max(now, 0) + 1, counts=False), True
        if not isinstance(verdict, GiveUp) or not _may_be_a_text(outcome) or self._left[job_id] <= 0:
            return verdict, False
        both = halves(sent)
        if both is None:
            return verdict, False
        self._left[job_id] -= 1
        return Split(max(now, 0) + 1, *both), False


def _may_be_a_text(failure: Failure) -> bool:
    """Whether one of several texts may be what the provider refuses, or fails at each time."""
    if failure.kind is FailureKind.INVALID_REQUEST:
        return failure.status in _OF_A_TEXT
    return failure.kind not in _NEVER_SPLIT
