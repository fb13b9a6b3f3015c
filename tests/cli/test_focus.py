"""Rules of FOCUS 1.3 that a file of costs is held to, as far as we know them; no official validator of 1.3 was at hand.

Presence, nulls, types, allowed values, and arithmetic. This list is ours and may lack rules of the specification.
"""

import csv
import io
import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from tests.cli.conftest import CHAT, chat, provider, run_cli, write

MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd",
    "ChargePeriodStart", "ContractedCost", "EffectiveCost", "HostProviderName", "InvoiceIssuerName", "ListCost",
    "PricingQuantity", "PricingUnit", "ServiceCategory", "ServiceName", "ServiceProviderName",
}  # fmt: skip
ALLOWED = {
    "ChargeCategory": {"Usage"},
    "ChargeFrequency": {"Usage-Based"},
    "PricingCategory": {"Standard", "Other"},
    "ServiceCategory": {"AI and Machine Learning"},
    "ServiceSubcategory": {"Generative AI"},
    "BillingCurrency": {"USD"},
    "x_CostBasis": {"recorded", "estimated"},
}
NULLABLE = {
    *("ChargeClass", "ListUnitPrice", "ContractedUnitPrice", "x_PriceSource", "x_PriceFrom", "x_PromptAbove"),
}
NUMERIC = {
    "BilledCost", "ContractedCost", "EffectiveCost", "ListCost", "PricingQuantity", "ConsumedQuantity",
    "ListUnitPrice", "ContractedUnitPrice",
}  # fmt: skip
NUMBER = re.compile(r"-?\d+(\.\d+)?")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
UNIT = re.compile(r"[A-Z][A-Za-z ]*s")
NAME = re.compile(r"[A-Z][A-Za-z]*|x_[A-Z][A-Za-z]*")


@pytest.fixture
def rows(worked: Path) -> list[dict[str, str]]:
    ended = run_cli("costs", "--format", "focus")
    assert ended.exit_code == 0, ended.stderr
    found = list(csv.DictReader(io.StringIO(ended.stdout)))
    assert found
    return found


def test_the_columns_are_those_of_the_specification_or_marked_as_our_own(rows: list[dict[str, str]]) -> None:
    assert set(rows[0]) >= MANDATORY
    assert all(NAME.fullmatch(name) for name in rows[0])
    assert len(rows[0]) == len(set(rows[0]))


def test_no_value_is_missing_where_there_must_be_one(rows: list[dict[str, str]]) -> None:
    assert {name for row in rows for name, value in row.items() if not value} <= NULLABLE
    assert {row["ChargeClass"] for row in rows} == {""}, "nothing here corrects an earlier invoice"


def test_values_have_the_type_of_their_column(rows: list[dict[str, str]]) -> None:
    for row in rows:
        assert all(NUMBER.fullmatch(row[name]) for name in NUMERIC if row[name])
        assert all(TIME.fullmatch(value) for name, value in row.items() if name.endswith(("PeriodStart", "PeriodEnd")))
        assert all(row[name] in values for name, values in ALLOWED.items())
        assert UNIT.fullmatch(row["PricingUnit"])
        assert UNIT.fullmatch(row["ConsumedUnit"])
        tags = json.loads(row["Tags"])
        assert all(isinstance(key, str) and isinstance(value, str) for key, value in tags.items())


def test_a_charge_lies_in_its_day_and_the_day_in_its_month(rows: list[dict[str, str]]) -> None:
    for row in rows:
        assert row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["ChargePeriodEnd"] <= row["BillingPeriodEnd"]
        assert row["BillingPeriodStart"][8:] == row["BillingPeriodEnd"][8:] == "01T00:00:00Z"
        assert row["ChargePeriodStart"][10:] == row["ChargePeriodEnd"][10:] == "T00:00:00Z"


def test_costs_are_price_times_quantity(rows: list[dict[str, str]]) -> None:
    for row in rows:
        assert row["BilledCost"] == row["EffectiveCost"] == row["ContractedCost"]
        assert (row["PricingCategory"] == "Standard") == bool(row["ListUnitPrice"])
        for price, cost in (("ListUnitPrice", "ListCost"), ("ContractedUnitPrice", "ContractedCost")):
            if row[price]:
                assert Decimal(row[price]) * Decimal(row["PricingQuantity"]) == Decimal(row[cost])


def test_list_price_and_contract_stand_beside_each_other_and_long_prompts_are_apart(here: Path) -> None:
    """By hand: 1 and 2 dollars for a million tokens, 1.50 for the input of a longer prompt; 12.5 percent off all."""
    words = ("--input", "1", "--output", "2", "--discount", "12.5", "--above", "100:input=1.50", "--source", "contract")
    assert run_cli("prices", "set", CHAT, *words).exit_code == 0
    rows = [chat("short", "one"), chat("short too", "two"), chat("long", "word " * 2_000)]
    with provider() as env:
        ended = run_cli("run", str(write(here / "jobs.jsonl", rows)), "--yes", "--progress", "none", env=env)
    assert ended.exit_code == 0, ended.stderr

    made = list(csv.DictReader(io.StringIO(run_cli("costs", "--format", "focus").stdout)))
    assert [
        (row["SkuMeter"], row["x_PromptAbove"], row["ListUnitPrice"], row["ContractedUnitPrice"]) for row in made
    ] == [
        ("Input Tokens", "", "0.000001", "0.000000875"),
        ("Output Tokens", "", "0.000002", "0.00000175"),
        ("Input Tokens", "100", "0.0000015", "0.0000013125"),
        ("Output Tokens", "100", "0.000002", "0.00000175"),
    ]
    for row in made:
        listed, paid = Decimal(row["ListCost"]), Decimal(row["BilledCost"])
        assert paid == listed * Decimal("0.875")
        assert listed == Decimal(row["ListUnitPrice"]) * Decimal(row["ConsumedQuantity"])
        assert paid == Decimal(row["ContractedUnitPrice"]) * Decimal(row["PricingQuantity"])
    assert len({row["SkuPriceId"] for row in made}) == 4
    total = json.loads(run_cli("costs", "--json").stdout)["total"]["usd"]["recorded"]
    assert sum(Decimal(row["BilledCost"]) for row in made) == Decimal(total)


def test_one_sku_price_names_one_price(rows: list[dict[str, str]]) -> None:
    prices = {(row["SkuPriceId"], row["ListUnitPrice"]) for row in rows}
    assert len(prices) == len({name for name, _ in prices})


def test_parquet_has_the_same_columns_typed(worked: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    ended = run_cli("costs", "--format", "focus", "-o", "focus.parquet")
    assert ended.exit_code == 0, ended.stderr
    schema = parquet.read_schema(worked / "focus.parquet")
    kinds = {name: str(schema.field(name).type) for name in schema.names}
    assert {kinds[name] for name in NUMERIC} == {"decimal128(38, 12)"}
    assert kinds["ChargePeriodStart"] == "timestamp[us, tz=UTC]"
