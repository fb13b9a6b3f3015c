"""Price files: what is read is what was written, and what can't be read is named."""

import re
import tomllib
from decimal import Decimal
from importlib.resources import files

import pytest

from batchrunner.core.errors import ConfigurationError
from batchrunner.formats.pricefile import load_prices, parse_prices

NOW = 1_795_000_000_000_000  # November 2026
BEFORE = 1_780_000_000_000_000  # May 2026
LLAMA = "meta-llama/Llama-3.3-70B-Instruct-Turbo"


def entry(**changes):
    fields = {"provider": '"together"', "names": '["a"]', "input": '"0.88"', **changes}
    return "\n".join(
        ["[[price]]", *(f"{key} = {value}" for key, value in fields.items() if value is not None)]
    ).encode()


@pytest.mark.parametrize(
    ("model", "at", "input_pico", "output_pico", "cached"),
    [
        (LLAMA, BEFORE, 880_000, 880_000, None),
        (LLAMA, NOW, 1_040_000, 1_040_000, None),
        (LLAMA.upper(), NOW, 1_040_000, 1_040_000, None),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo", NOW, 180_000, 180_000, None),
        ("deepseek-ai/DeepSeek-R1", BEFORE, 550_000, 2_190_000, None),
        ("Qwen 2.5 32B", NOW, 800_000, 800_000, None),
        ("openai/gpt-oss-20b", NOW, 50_000, 200_000, None),
        ("zai-org/GLM-5.2", NOW, 1_400_000, 4_400_000, 260_000),
        ("BAAI/bge-base-en-v1.5", NOW, 8_000, 0, None),
        ("Salesforce/Llama-Rank-V1", NOW, 100_000, 0, None),
    ],
)
def test_the_prices_that_come_along(model, at, input_pico, output_pico, cached):
    card = load_prices().card("together", model, at)
    assert (card.input, card.output, card.cached) == (input_pico, output_pico, cached)
    assert card.source


def test_an_unknown_model_has_no_price():
    assert load_prices().card("together", "nobody/nothing", NOW) is None
    assert load_prices().card("together", "openai/gpt-oss-20b", BEFORE) is None


def test_every_price_that_comes_along_is_a_text_so_that_no_digit_is_lost():
    found = tomllib.loads(files("batchrunner.formats").joinpath("prices.toml").read_text())
    assert all(
        isinstance(row[key], str) for row in found["price"] for key in ("input", "output", "cached") if key in row
    )
    assert len(found["price"]) == 39


def test_a_persons_file_stands_above_the_built_in_prices_and_a_later_one_above_that(tmp_path):
    # The later file wins although its name is only a pattern.
    (tmp_path / "0.toml").write_bytes(entry(names=f'["{LLAMA}"]', input='"0.5"'))
    (tmp_path / "1.toml").write_bytes(entry(names='["meta-llama/*"]', input='"0.25"'))
    book = load_prices([tmp_path / "0.toml", str(tmp_path / "1.toml")])
    assert book.card("together", LLAMA, NOW).input == 250_000
    assert load_prices([tmp_path / "0.toml"]).card("together", LLAMA, NOW).input == 500_000


@pytest.mark.parametrize("written", ['"0.000001"', "0.000001", '"1E-6"'])
def test_the_smallest_price_is_exact_quoted_or_not(written):
    (price,) = parse_prices(entry(input=written), "p.toml")
    assert price.input == 1


def test_whole_numbers_are_prices_too():
    assert parse_prices(entry(input="3"), "p.toml")[0].input == 3_000_000


@pytest.mark.parametrize(
    ("written", "microseconds"),
    [
        ("1970-01-02", 86_400_000_000),
        ("2026-09-01", 1_788_220_800_000_000),
        ("2026-09-01T00:00:00", 1_788_220_800_000_000),
        ("2026-09-01T02:00:00.000001+02:00", 1_788_220_800_000_001),
    ],
)
def test_dates_begin_at_midnight_utc(written, microseconds):
    assert parse_prices(entry(valid_from=written), "p.toml")[0].valid_from == microseconds


def test_a_condition_that_cannot_be_priced_needs_no_price():
    (price,) = parse_prices(entry(input=None, unpriced="true"), "p.toml")
    assert price.unpriced


BAD = {
    "no names": (entry(names=None), "p.toml: price 1: `names` is missing"),
    "empty names": (entry(names="[]"), "p.toml: price 1: `names` must be a list"),
    "a name that is no text": (entry(names='["a", 3]'), "price 1 (a): `names` must be a list"),
    "no price": (entry(input=None), "price 1 (a): `input` is missing"),
    "a word": (entry(input='"cheap"'), "price 1 (a): `input`: a price must be a decimal number"),
    "negative": (entry(output="-1"), "price 1 (a): `output`: a price must be 0 to"),
    "too many digits": (entry(cached='"0.0000001"'), "price 1 (a): `cached`: a price has at most six decimals"),
    "a switch as a price": (entry(input="true"), "price 1 (a): `input` must be a price"),
    "nan": (entry(input="nan"), "price 1 (a): `input`: a price must be 0 to"),
    "a misspelled key": (entry(cahced='"1"'), "price 1 (a): `cahced` is no key of a price"),
    "a date in quotes": (entry(valid_from='"2026-09-01"'), "price 1 (a): `valid_from` must be a date"),
    "a date before time": (entry(valid_from="1969-12-31"), "price 1 (a): `valid_from` must not be before 1970"),
    "euros": (entry(currency='"EUR"'), "price 1 (a): prices are in USD, not 'EUR'"),
    "unpriced as text": (entry(unpriced='"yes"'), "price 1 (a): `unpriced` must be true or false"),
    "no provider": (entry(provider='""'), "price 1 (a): `provider` must be a text"),
    "the second entry": (entry() + b"\n" + entry(names='["b"]', input="[]"), "p.toml: price 2 (b): `input` must be"),
    "another table": (b"[prices]\na = 1", "p.toml: expected [[price]] entries only, found `prices`"),
    "one table": (b"[price]\na = 1", "p.toml: expected [[price]] entries only, found `price`"),
    "no TOML": (b"price: 3", "p.toml is not TOML: "),
    "no UTF-8": (b"# \xff", "p.toml is not TOML: "),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_entry_is_named(what):
    content, message = BAD[what]
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        parse_prices(content, "p.toml")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="can't read the price file"):
        load_prices([tmp_path / "none.toml"])


def test_a_decimal_is_taken_as_it_was_written():
    assert parse_prices(entry(input="0.1"), "p.toml")[0].input == int(Decimal("0.1") * 1_000_000)
