"""``models``: the provider's catalogue."""

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
import click

from batchrunner.cli.options import json_option, provider_options, verb
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import exact, table, talk
from batchrunner.cli.text import one_line, plural
from batchrunner.cli.units import price_facts
from batchrunner.config import Loaded
from batchrunner.core.attempt import Failure, FailureKind
from batchrunner.core.errors import ExitCode
from batchrunner.formats.pricewords import unit_prices

if TYPE_CHECKING:
    from batchrunner.api.catalogue import Model
    from batchrunner.core.pricing import RateCard

MILLION = 10**6

EXIT_CODES: Final = {
    FailureKind.AUTH: ExitCode.AUTH,
    FailureKind.NO_CREDIT: ExitCode.NO_MONEY,
}
"""Every other failure: the provider is unavailable."""


@verb()
@provider_options
@click.option("--search", metavar="TEXT", help="Only models whose id or type holds this.")
@click.option("--type", "kind", metavar="TYPE", help="Only models of this type: chat, embedding, rerank, image ...")
@json_option
def command(loaded: Loaded, search: str | None, kind: str | None, as_json: bool) -> int:
    """Ask the provider what models it has: type, context and price. It costs nothing.

    Prices are the provider's, in dollars per million tokens; `booked` is what our price book prices a call by today.

    \b
    Examples:
      batchrunner models
      batchrunner models --type embedding
      batchrunner models --provider openai --search embedding
      batchrunner models --json
    """
    from batchrunner.api.catalogue import catalogue

    settings = loaded.settings
    found = anyio.run(partial(catalogue, loaded, settings.provider))
    if isinstance(found, Failure):
        return tell_failure(found, settings.provider)
    shown = [model for model in found if _fits(model, search, kind)]
    if as_json:
        facts = [_facts(model) for model in shown]
        print_json({"schema": "batchrunner.models/1", "provider": settings.provider, "models": facts})
    else:
        headers = ("model", "type", "context", "in $/M", "cached $/M", "out $/M", "booked in/out")
        table(headers, [_cells(model) for model in shown], right=(2, 3, 4, 5))
    talk(f"{plural(len(shown), 'model')} of {settings.provider}", quiet=settings.quiet)
    if kind is not None and not shown:
        types = sorted({model.type for model in found if model.type})
        talk(f"its types are: {one_line(', '.join(types) or 'not told', 200)}", quiet=settings.quiet)
    return ExitCode.OK


def tell_failure(failure: Failure, provider: str) -> int:
    """Say why there is no catalogue and return the exit code."""
    status = f" (status {failure.status})" if failure.status else ""
    talk(f"error: {provider} did not list its models{status}: {one_line(failure.message, 300)}")
    talk("  try: batchrunner doctor")
    return EXIT_CODES.get(failure.kind, ExitCode.UNAVAILABLE)


def _fits(model: "Model", search: str | None, kind: str | None) -> bool:
    if kind is not None and (model.type or "").casefold() != kind.casefold():
        return False
    return not search or search.casefold() in f"{model.id} {model.type or ''}".casefold()


def _cells(model: "Model") -> tuple[str, ...]:
    prices = [_per_million(pico) or "-" for pico in model.listed]
    booked = "unpriced" if model.card is None else _booked(model.card)
    context = "-" if model.context is None else f"{model.context:,}"
    return (one_line(model.id, 80), one_line(model.type or "-", 20), context, *prices, booked)


def _booked(card: "RateCard") -> str:
    """Return what a card prices tokens by, or else the other units that it sells."""
    if card.input is None and card.output is None:
        return unit_prices(card)
    return f"{_per_million(card.input) or '-'}/{_per_million(card.output) or '-'}"


def _facts(model: "Model") -> dict[str, Any]:
    card = model.card
    booked = None
    if card is not None:
        picos = (card.input, card.cached, card.output)
        booked = {**_prices(picos), "source": card.source, "usd": price_facts(card)}
    return {
        "id": model.id,
        "type": model.type,
        "context": model.context,
        "usd_per_million_tokens": _prices(model.listed),
        "booked": booked,
    }


def _prices(picos: tuple[int | None, int | None, int | None]) -> dict[str, str | None]:
    return dict(zip(("input", "cached", "output"), map(_per_million, picos), strict=True))


def _per_million(pico: int | None) -> str | None:
    return None if pico is None else exact(pico * MILLION)
