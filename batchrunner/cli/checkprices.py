"""``prices check``: the models that are used here and have no price."""

from typing import TYPE_CHECKING, Any

from batchrunner.cli.options import json_option, verb
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import table, talk
from batchrunner.cli.text import one_line, plural
from batchrunner.config import Loaded
from batchrunner.core.errors import ExitCode

if TYPE_CHECKING:
    from batchrunner.api.pricing import Unpriced


@verb(name="check")
@json_option
def check_command(loaded: Loaded, as_json: bool) -> int:
    """Name the models of the database that have no price, or had none when they were called.

    What such calls cost is in no sum, and a budget can't hold it. Exit code 2: a model has no price now.

    \b
    Examples:
      batchrunner prices check
      batchrunner prices check --db night.db --json
    """
    from batchrunner.api.pricing import check_prices

    found = check_prices(loaded)
    if as_json:
        facts = {"models": found.models, "unpriced": [_facts(each) for each in found.unpriced]}
        print_json({"schema": "batchrunner.prices-check/1", **facts})
    elif found.unpriced:
        headers = ("provider", "model", "queued", "calls of unknown cost", "why")
        table(headers, [_cells(each) for each in found.unpriced], right=(2, 3))
    quiet = loaded.settings.quiet
    if not found.missing:
        talk(f"{plural(found.models, 'model')} used" + ", each of them has a price" * bool(found.models), quiet=quiet)
        return ExitCode.OK
    names = one_line(", ".join(dict.fromkeys(each.model for each in found.missing)), 300)
    talk(f"{plural(len(found.missing), 'model')} of {found.models:,} without a price: {names}")
    talk("  try: batchrunner prices set MODEL --input USD --output USD, or batchrunner prices import --models")
    return ExitCode.USAGE


def _cells(each: "Unpriced") -> tuple[str, ...]:
    return (each.provider, one_line(each.model, 80), f"{each.queued:,}", f"{each.calls:,}", each.reason)


def _facts(each: "Unpriced") -> dict[str, Any]:
    return {
        "provider": each.provider,
        "model": each.model,
        "queued": each.queued,
        "calls_of_unknown_cost": each.calls,
        "priced_now": each.priced,
        "why": each.reason,
    }
