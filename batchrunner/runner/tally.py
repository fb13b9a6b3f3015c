"""What a run has done so far, counted from what is on the disk: the live view, the snapshot and the report read it."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from batchrunner.core.attempt import Billing, Failure, Reply, Use
from batchrunner.core.clock import MINUTE, SECOND
from batchrunner.core.request import Closing
from batchrunner.core.retry import AskAgain, FallBack, GiveUp, RetryAt, Split, Succeed
from batchrunner.core.usage import UsageFrom


@dataclass(slots=True)
class Tally:
    """Counts of one run. Every figure was committed before it is counted."""

    attempts: int = 0
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    asked_again: int = 0
    """Answers that were put by for a better or a longer one."""
    split: int = 0
    """Packs that were halved: each is one request more."""
    texts: int = 0
    """Texts whose vectors came, in packs."""
    flagged: int = 0
    """Of those that succeeded, the ones whose answer is flagged."""
    tokens_in: int = 0
    tokens_out: int = 0
    recorded: int = 0
    """Pico-dollars, by the provider's usage."""
    estimated: int = 0
    """Pico-dollars, by our estimate of the usage."""
    possibly_billed: int = 0
    """Pico-dollars held by attempts that may have been billed."""
    wasted: int = 0
    unpriced: int = 0
    """Attempts that cost an unknown sum."""
    streams: int = 0
    """Streamed answers whose first token came."""
    ttft: float = 0.0
    """Seconds to their first tokens, all together."""
    errors: Counter[str] = field(default_factory=Counter)
    """Failed attempts by kind."""
    put_by: dict[int, tuple[int, UsageFrom]] = field(default_factory=dict)
    """By request that is asked again: what its last answer cost, which is wasted unless nothing better comes."""
    recent: deque[list[int]] = field(default_factory=deque)
    """Second, calls closed in it, tokens in, tokens out: of the last minute, for rates."""

    def add(self, closings: Sequence[Closing], now: int) -> None:
        """Count a committed group."""
        before_in, before_out = self.tokens_in, self.tokens_out
        for closing in closings:
            self._add(closing)
        second = now // SECOND
        if not self.recent or self.recent[-1][0] != second:
            self.recent.append([second, 0, 0, 0])
            while self.recent[0][0] < second - MINUTE // SECOND:
                self.recent.popleft()
        for place, more in enumerate((len(closings), self.tokens_in - before_in, self.tokens_out - before_out), 1):
            self.recent[-1][place] += more

    def _add(self, closing: Closing) -> None:
        self.attempts += 1
        self._add_verdict(closing)
        if isinstance(closing.outcome, Failure):
            self.errors[closing.outcome.kind.value] += 1
        if closing.ttft is not None:
            self.streams += 1
            self.ttft += closing.ttft
        if closing.usage is not None:
            self.tokens_in += closing.usage.input
            self.tokens_out += closing.usage.output
        self._add_money(closing)

    def _add_verdict(self, closing: Closing) -> None:
        verdict = closing.verdict
        if isinstance(verdict, Succeed):
            self.succeeded += 1
            if isinstance(closing.outcome, Reply):
                self.flagged += bool(closing.outcome.flags)
                self.texts += 0 if closing.outcome.vectors is None else closing.outcome.vectors.count
            if self.put_by:
                self.put_by.pop(closing.opening.head.id, None)
        elif isinstance(verdict, FallBack):
            self.succeeded += 1
            self.flagged += 1
            self._take_after_all(closing.opening.head.id)
        elif isinstance(verdict, AskAgain):
            self.asked_again += 1
            self.put_by[closing.opening.head.id] = closing.cost or 0, closing.usage_from
        elif isinstance(verdict, GiveUp):
            self.failed += 1
        elif isinstance(verdict, RetryAt):
            self.retried += 1
        elif isinstance(verdict, Split):
            self.split += 1

    def _take_after_all(self, request_id: int) -> None:
        """Count the answer that a request falls back to as used, as the books do, if it was bought in this run."""
        cost, usage_from = self.put_by.pop(request_id, (0, UsageFrom.NONE))
        self.wasted -= cost
        if usage_from is UsageFrom.PROVIDER:
            self.recorded += cost
        else:
            self.estimated += cost

    def _add_money(self, closing: Closing) -> None:
        if closing.billing is Billing.NOT_BILLED:
            return
        cost = closing.opening.hold if closing.billing is Billing.UNKNOWN else closing.cost
        if cost is None:
            self.unpriced += 1
        elif closing.billing is Billing.UNKNOWN:
            self.possibly_billed += cost
        elif closing.use is Use.WASTED:
            self.wasted += cost
        elif closing.usage_from is UsageFrom.PROVIDER:
            self.recorded += cost
        else:
            self.estimated += cost

    def rates(self, now: int) -> tuple[float, float, float]:
        """Return calls, input tokens and output tokens a second over the last minute (or since the start)."""
        if not self.recent:
            return 0.0, 0.0, 0.0
        seconds = max(1.0, now / SECOND - self.recent[0][0])
        calls, tokens_in, tokens_out = (sum(entry[i] for entry in self.recent) for i in (1, 2, 3))
        return calls / seconds, tokens_in / seconds, tokens_out / seconds
