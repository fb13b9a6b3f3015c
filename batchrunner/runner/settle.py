"""From an outcome to a closing: what it cost, as far as anyone can tell. Pure."""

from batchrunner.core.attempt import Billing, Outcome, Reply, Use
from batchrunner.core.estimate import tokens
from batchrunner.core.pricing import RateCard
from batchrunner.core.request import Closing, Head, Opening
from batchrunner.core.retry import Succeed, Verdict
from batchrunner.core.usage import Usage, UsageFrom
from batchrunner.endpoints.base import Endpoint
from batchrunner.endpoints.reasoning import flattened


def close(  # noqa: PLR0913 - the parts of a closing
    attempt_id: int,
    opening: Opening,
    outcome: Outcome,
    verdict: Verdict,
    *,
    card: RateCard | None,
    estimate: Usage | None,
    ended: int,
    ttfb: float,
) -> Closing:
    """Return the closing of an attempt.

    A good answer without usage is priced by ``estimate`` and marked so; a failure that may have been billed keeps its
    hold and has no cost of its own. An answer for which the request is asked again is wasted.
    """
    usage, usage_from = outcome.usage, UsageFrom.PROVIDER
    billing = Billing.BILLED if type(outcome) is Reply else outcome.billing  # type: ignore[union-attr]
    if usage is None and type(outcome) is Reply:
        usage, usage_from = estimate, UsageFrom.ESTIMATED
    if usage is None:
        usage_from = UsageFrom.NONE
    cost = card.cost(usage) if card is not None and usage is not None and billing is Billing.BILLED else None
    use = Use.USED if type(outcome) is Reply and type(verdict) is Succeed else Use.WASTED
    return Closing(attempt_id, opening, ended, outcome, verdict, billing, use, usage, usage_from, cost, ttfb)


def estimate_usage(reply: Reply, head: Head, endpoint: Endpoint, input_tokens: int) -> Usage:
    """Estimate the usage of a good answer that came without any.

    ``input_tokens`` is the calibrated estimate of the request's input.
    """
    if head.max_out == 0:
        return Usage(input=input_tokens)
    written = [tokens(text.encode("utf-8", "replace")) for text in flattened(endpoint, reply.body) if text]
    return Usage(input=input_tokens, output=sum(written))
