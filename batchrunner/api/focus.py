"""Our books as FOCUS 1.3, the FinOps Open Cost and Usage Specification: what finance tools read.

One row for each UTC day, job, model and meter, apart by rate card, account, tags, and by whether an amount is recorded
or estimated and its answers were used. What was only possibly billed is no charge, and is not in it.
"""

import calendar
import json
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Final

from batchrunner.api.costfiles import Table
from batchrunner.api.ledgers import Ledgers
from batchrunner.core.clock import DAY
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.meters import Meter, meters
from batchrunner.core.pricing import PICO
from batchrunner.core.slices import EPOCH, Within, day_text
from batchrunner.core.version import program_version
from batchrunner.formats.flat import Cell, Column, Kind
from batchrunner.store.base import ChargeRow

VERSION: Final = "1.3"
_NAMES: Final = {"together": "Together AI", "openai": "OpenAI"}

_MANDATORY: Final = (
    Column("BilledCost", Kind.PICO),
    Column("BillingAccountId"),
    Column("BillingAccountName"),
    Column("BillingCurrency"),
    Column("BillingPeriodEnd", Kind.TIME),
    Column("BillingPeriodStart", Kind.TIME),
    Column("ChargeCategory"),
    Column("ChargeClass"),
    Column("ChargeDescription"),
    Column("ChargePeriodEnd", Kind.TIME),
    Column("ChargePeriodStart", Kind.TIME),
    Column("ContractedCost", Kind.PICO),
    Column("EffectiveCost", Kind.PICO),
    Column("HostProviderName"),
    Column("InvoiceIssuerName"),
    Column("ListCost", Kind.PICO),
    Column("PricingQuantity", Kind.PICO),
    Column("PricingUnit"),
    Column("ProviderName"),
    Column("PublisherName"),
    Column("ServiceCategory"),
    Column("ServiceName"),
    Column("ServiceProviderName"),
)
_CONDITIONAL: Final = (
    Column("ChargeFrequency"),
    Column("ConsumedQuantity", Kind.PICO),
    Column("ConsumedUnit"),
    Column("ContractedUnitPrice", Kind.PICO),
    Column("ListUnitPrice", Kind.PICO),
    Column("PricingCategory"),
    Column("ResourceId"),
    Column("ResourceName"),
    Column("ResourceType"),
    Column("ServiceSubcategory"),
    Column("SkuId"),
    Column("SkuMeter"),
    Column("SkuPriceId"),
    Column("Tags"),
)
_OWN: Final = (
    Column("x_CostBasis"),
    Column("x_AnswersUsed"),
    Column("x_Endpoint"),
    Column("x_Processing"),
    Column("x_Attempts", Kind.WHOLE),
    Column("x_PriceSource"),
    Column("x_PriceFrom"),
    Column("x_PromptAbove", Kind.WHOLE),
    Column("x_Database"),
    Column("x_Generator"),
)
COLUMNS: Final = (*_MANDATORY, *_CONDITIONAL, *_OWN)


def focus_table(books: Ledgers, ref: str | None, within: Within) -> tuple[Table, int]:
    """Return the rows of FOCUS, and of how many attempts the cost is unknown: those are in no row.

    Raises ConfigurationError for days of another time zone, which the specification does not know.
    """
    if within.zone != "UTC":
        raise ConfigurationError("FOCUS has its periods in UTC", hint="leave --tz out")
    rows: list[Sequence[Cell]] = []
    unknown = 0
    for called, charge in books.charges(ref, within):
        unknown += charge.unpriced
        if charge.attempts > charge.unpriced:
            rows.extend(_rows(PurePath(called).name, charge))
    return (list(COLUMNS), rows), unknown


def _rows(database: str, charge: ChargeRow) -> Iterator[list[Cell]]:
    for meter in meters(charge.card, charge.usage, charge.cost, charge.attempts - charge.unpriced, charge.above):
        facts = _money(meter) | _when(charge) | _who(charge) | _what(charge, meter) | _own(database, charge)
        yield [facts[column.name] for column in COLUMNS]


def _money(meter: Meter) -> dict[str, Cell]:
    paid: dict[str, Cell] = dict.fromkeys(("BilledCost", "EffectiveCost", "ContractedCost"), meter.cost)
    return paid | {
        "ListCost": meter.listed,
        "BillingCurrency": "USD",
        "ContractedUnitPrice": meter.net,
        "ListUnitPrice": meter.price,
        "PricingQuantity": meter.quantity,
        "PricingUnit": meter.priced,
        "PricingCategory": "Standard" if meter.price is not None else "Other",
        "ConsumedQuantity": meter.consumed * PICO,
        "ConsumedUnit": meter.unit,
    }


def _when(charge: ChargeRow) -> dict[str, Cell]:
    """Periods have their end outside, as the specification wants it; the billing period is the calendar month."""
    first = EPOCH.fromordinal(EPOCH.toordinal() + charge.day).replace(day=1)
    start = first.toordinal() - EPOCH.toordinal()
    return {
        "BillingPeriodStart": start * DAY,
        "BillingPeriodEnd": (start + calendar.monthrange(first.year, first.month)[1]) * DAY,
        "ChargePeriodStart": charge.day * DAY,
        "ChargePeriodEnd": (charge.day + 1) * DAY,
    }


def _who(charge: ChargeRow) -> dict[str, Cell]:
    name = _NAMES.get(charge.provider, charge.provider)
    account = f"{charge.provider}:{charge.account or 'unknown'}"
    issuers: dict[str, Cell] = dict.fromkeys(
        ("HostProviderName", "InvoiceIssuerName", "ProviderName", "PublisherName", "ServiceProviderName"), name
    )
    return issuers | {"BillingAccountId": account, "BillingAccountName": f"{name}, key {charge.account or 'unknown'}"}


def _what(charge: ChargeRow, meter: Meter) -> dict[str, Cell]:
    tier = f":above {charge.above}" if charge.above else ""
    price = None if charge.card is None else f"{charge.card.digest().hex()}:{meter.name}{tier}"
    return {
        "ChargeCategory": "Usage",
        "ChargeClass": None,
        "ChargeDescription": f"{meter.name} of {charge.model}, job {charge.job}",
        "ChargeFrequency": "Usage-Based",
        "ResourceId": f"job-{charge.job_id}",
        "ResourceName": charge.job,
        "ResourceType": "Batch Job",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
        "ServiceName": f"{_NAMES.get(charge.provider, charge.provider)} Inference",
        "SkuId": f"{charge.provider}/{charge.model}",
        "SkuMeter": meter.name,
        "SkuPriceId": price or f"{charge.provider}/{charge.model}:stated:{meter.name}",
        "Tags": json.dumps(dict(charge.tags), ensure_ascii=False),
    }


def _own(database: str, charge: ChargeRow) -> dict[str, Cell]:
    card = charge.card
    return {
        "x_CostBasis": "recorded" if charge.reported else "estimated",
        "x_AnswersUsed": "true" if charge.used else "false",
        "x_Endpoint": charge.endpoint,
        "x_Processing": charge.processing,
        "x_Attempts": charge.attempts - charge.unpriced,
        "x_PriceSource": None if card is None else card.source or None,
        "x_PriceFrom": None if card is None or not card.valid_from else day_text(card.valid_from // DAY),
        "x_PromptAbove": charge.above or None,
        "x_Database": database,
        "x_Generator": f"batchrunner {program_version()}",
    }
