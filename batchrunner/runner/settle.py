"""From an outcome to a closing: what it cost, as far as anyone can tell. Pure."""

from batchrunner.core.attempt import Billing, Outcome, Reply, Use
from batchrunner.core.estimate import tokens
from batchrunner.core.pricing import RateCard, cost_of
from batchrunner.core.request import Closing, Head, Opening
from batchrunner.core.retry import Succeed, Verdict
from batchrunner.core.usage import Usage, UsageFrom, units_value
from batchrunner.endpoints.base import Endpoint
from batchrunner.endpoints.reasoning import flattened
from batchrunner.endpoints.units import completed


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
    ttft: float | None = None,
) -> Closing:
    """Return the closing of an attempt.

    A billed answer that does not count enough is priced by ``estimate`` and marked so; a failure that may have been
    billed keeps its hold and has no cost of its own. An answer for which the request is asked again is wasted.
    """
    usage, usage_from = outcome.usage, UsageFrom.PROVIDER
    billing = Billing.BILLED if type(outcome) is Reply else outcome.billing  # type: ignore[union-attr]
    if estimate is not None and billing is Billing.BILLED:
        usage, usage_from = estimate, UsageFrom.ESTIMATED
    if usage is None:
        usage_from = UsageFrom.NONE
    if usage_from is UsageFrom.PROVIDER and card is not None and card.assumed and usage is not None:
        usage_from = UsageFrom.PROVIDER if usage.cost is not None else UsageFrom.ESTIMATED  # nobody charges that price
    cost = cost_of(card, usage) if usage is not None and billing is Billing.BILLED else None
    use = Use.USED if type(outcome) is Reply and type(verdict) is Succeed else Use.WASTED
    return Closing(attempt_id, opening, ended, outcome, verdict, billing, use, usage, usage_from, cost, ttfb, ttft)


def estimate_usage(reply: Reply, head: Head, endpoint: Endpoint, input_tokens: int) -> Usage | None:
    """Estimate the usage of a good answer that came without any, or that does not count what it is billed by.

    ``input_tokens`` is the calibrated estimate of the request's input. Of pictures, sound and speech it is known what
    was asked for; how many tokens they may have been is not guessed. None where the answer counted enough by itself.
    """
    asked = units_value(head.units)
    if reply.usage is not None:
        return completed(reply.usage, asked)
    if asked is not None and (asked.images or asked.milliseconds or asked.characters):
        return asked
    asked = (asked or Usage())._replace(input=input_tokens)
    if head.max_out == 0:
        return asked
    written = [tokens(text.encode("utf-8", "replace")) for text in flattened(endpoint, reply.body) if text]
    return asked._replace(output=sum(written))
