"""Prices that were set in a database: they come back as they were set, and stand above those of files."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from batchrunner.core.errors import DatabaseError
from batchrunner.core.pricing import IN_DATABASE, Price
from batchrunner.core.terms import Tier
from batchrunner.store.database import open_reader, open_store
from tests.formats.test_pricefile import rows

LONG = Price(
    provider="acme",
    names=("long", "long-*"),
    input=1_250_000,
    output=10_000_000,
    megapixel=7,
    steps=4,
    tiers=(Tier(above_tokens=200_000, input=2_500_000), Tier(above_tokens=500_000, input=5, output=6)),
    processing="batch",
    discount=125_000,
    valid_from=1_788_220_800_000_000,
    source="contract 7",
    retrieved="2026-11-21",
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "q.db"


def set_and_read(path, prices):
    with open_store(path) as store:
        store.add_prices(prices)
        assert [*store.prices()][-len(prices) :] == read(path)[-len(prices) :]
    return read(path)


def read(path):
    with closing(open_reader(path)) as reader:
        return reader.prices()


def test_an_entry_is_one_row_for_each_meter_and_length_and_comes_back_as_it_was(path):
    assert set_and_read(path, [LONG]) == [replace(LONG, priority=IN_DATABASE)]
    with closing(sqlite3.connect(path)) as connection:
        meters = connection.execute(
            "SELECT meter, unit, above_tokens, pico, class, date(retrieved * 86400, 'unixepoch') FROM prices"
        ).fetchall()
    assert meters == [
        ("input", "token", None, 1_250_000, "batch", "2026-11-21"),
        ("output", "token", None, 10_000_000, "batch", "2026-11-21"),
        ("megapixel", "megapixel", None, 7, "batch", "2026-11-21"),
        ("input", "token", 200_000, 2_500_000, "batch", "2026-11-21"),
        ("input", "token", 500_000, 5, "batch", "2026-11-21"),
        ("output", "token", 500_000, 6, "batch", "2026-11-21"),
    ]


def test_entries_are_added_and_none_is_changed(path):
    first, second = (Price(provider="p", names=("m",), input=pico) for pico in (1, 2))
    set_and_read(path, [first])
    assert [each.input for each in set_and_read(path, [second])] == [1, 2]


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(rows())
def test_any_price_comes_back_and_prices_what_it_priced(tmp_path_factory, price):
    (found,) = set_and_read(tmp_path_factory.mktemp("db") / "q.db", [price])
    kept = price if price.retrieved == "" else replace(price, source=price.dated_source, retrieved="")
    if price.unpriced:
        kept = Price(
            provider=price.provider, names=price.names, unpriced=True, valid_from=price.valid_from, source=kept.source,
            processing=price.processing,
        )  # fmt: skip
    assert found == replace(kept, priority=IN_DATABASE)


@pytest.mark.parametrize(
    "damage",
    ["meter = 'smiles'", "pico = -1", "names = '[]'", "names = 'm'", "class = 'flex'", "pico = NULL", "discount = -1"],
)
def test_rows_that_are_no_price_are_told_and_price_nothing(path, damage):
    set_and_read(path, [Price(provider="p", names=("m",), input=1)])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE prices SET {damage}")
    with pytest.raises(DatabaseError, match="entry 1 of the table `prices` is no price"):
        read(path)
