"""Price files: what is read is what was written, and what can't be read is named."""

import re
import tomllib
from decimal import Decimal
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.errors import ConfigurationError
from batchrunner.core.pricing import CLASSES, Price
from batchrunner.core.tariff import PRICES, TOKEN_PRICES
from batchrunner.core.terms import Tier
from batchrunner.core.usage import Usage
from batchrunner.formats.pricefile import RATES, append_prices, load_prices, parse_prices, price_entry

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
        ("BAAI/bge-base-en-v1.5", NOW, 8_000, None, None),
        ("Salesforce/Llama-Rank-V1", NOW, 100_000, None, None),
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
    assert all(isinstance(row[key], str) for row in found["price"] for key in RATES if key in row)
    assert len(found["price"]) == 59
    assert all(row["source"] for row in found["price"])


SOURCE_TABLE = """
Llama 3.3 70B Turbo | 0.88 | 0.88 | meta-llama/Llama-3.3-70B-Instruct-Turbo
Llama 3.1 405B | 3.50 | 3.50 | meta-llama/Llama-3.1-405B-Instruct
Llama 3.1 70B | 0.88 | 0.88 | meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo
Llama 3.1 8B | 0.18 | 0.18 | meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo
Llama 3.2 90B Vision | 1.20 | 1.20 | meta-llama/Llama-3.2-90B-Vision-Instruct-Turbo
Llama 3.2 11B Vision | 0.18 | 0.18 | meta-llama/Llama-3.2-11B-Vision-Instruct-Turbo
Llama 3.2 3B | 0.06 | 0.06 | meta-llama/Llama-3.2-3B-Instruct-Turbo
Llama 3.2 1B | 0.04 | 0.04 | meta-llama/Llama-3.2-1B-Instruct
Mixtral 8x7B | 0.60 | 0.60 | mistralai/Mixtral-8x7B-Instruct-v0.1
Mixtral 8x22B | 1.20 | 1.20 | mistralai/Mixtral-8x22B-Instruct-v0.1
DiscoLM Mixtral 8x7B | 0.60 | 0.60 |
DeepSeek R1 | 0.55 | 2.19 | deepseek-ai/DeepSeek-R1
DeepSeek V3 | 0.27 | 1.10 | deepseek-ai/DeepSeek-V3
DeepSeek Coder V2 | 0.30 | 0.30 |
Qwen 2.5 72B | 1.20 | 1.20 | Qwen/Qwen2.5-72B-Instruct-Turbo
Qwen 2.5 32B | 0.80 | 0.80 |
Qwen 2.5 14B | 0.30 | 0.30 | Qwen/Qwen2.5-14B-Instruct
Qwen 2.5 7B | 0.20 | 0.20 | Qwen/Qwen2.5-7B-Instruct-Turbo
QwQ 32B Preview | 1.20 | 1.20 | Qwen/QwQ-32B
"""
"""The price table of Together AI's quick start: USD per million tokens in and out, and the id where it is known."""


def test_all_19_models_of_the_source_documents_price_table_are_there_undated_with_names_and_ids():
    book, table = load_prices(), [[cell.strip() for cell in row.split("|")] for row in SOURCE_TABLE.split("\n") if row]
    assert len(table) == 19
    for name, given_usd, made_usd, model in table:
        for each in filter(None, (name, model)):
            card = book.card("together", each, 0)
            assert card.cost(Usage(10**6)) == Decimal(given_usd) * 10**12, each
            assert card.cost(Usage(0, 0, 10**6)) == Decimal(made_usd) * 10**12, each
            assert (card.valid_from, card.source) == (0, "Together AI quick start, undated")


@pytest.mark.parametrize(
    ("model", "at", "usd"),
    [
        (LLAMA, BEFORE, "0.44"),
        (LLAMA, NOW, "0.52"),
        ("openai/gpt-oss-20b", NOW, "0.05"),
        ("Qwen/Qwen2.5-72B-Instruct-Turbo", BEFORE, "0.60"),
        ("Qwen/Qwen2.5-72B-Instruct-Turbo", NOW, "1.20"),
        ("Qwen/Qwen2.5-7B-Instruct-Turbo", NOW, "0.15"),
        ("zai-org/GLM-5.2", NOW, "1.40"),
        ("zai-org/GLM-5.2", BEFORE, None),
        ("deepseek-ai/DeepSeek-R1-0528", NOW, None),
        ("nobody/nothing", NOW, None),
    ],
)
def test_a_batch_has_the_discount_of_its_model_and_day(model, at, usd):
    card = load_prices().card("together", model, at, "batch")
    assert (card and card.cost(Usage(10**6))) == (usd and Decimal(usd) * 10**12)


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


@pytest.mark.parametrize(
    ("key", "written", "price", "pico"),
    [
        ("image", '"0.04"', "image", 40_000_000_000),
        ("megapixel", '"0.0027"', "megapixel", 2_700_000_000),
        ("hour", '"0.09"', "hour", 90_000_000_000),
        ("minute", '"0.0015"', "hour", 90_000_000_000),
        ("second", "0.0001", "hour", 360_000_000_000),
        ("characters", '"15"', "character", 15_000_000),
        ("search", "0.002", "search", 2_000_000_000),
        ("audio_input", '"40"', "audio_input", 40_000_000),
        ("image_output", '"40"', "image_output", 40_000_000),
    ],
)
def test_every_unit_has_a_price_of_its_own(key, written, price, pico):
    (read,) = parse_prices(entry(input=None, **{key: written}), "p.toml")
    assert {name: getattr(read, name) for name in PRICES if getattr(read, name) is not None} == {price: pico}


@pytest.mark.parametrize(
    ("provider", "model", "usage", "usd"),
    [
        ("together", "canopylabs/orpheus-3b-0.1-ft", Usage(characters=1_000_000), "15"),
        ("together", "hexgrad/Kokoro-82M", Usage(characters=1_000_000), "4"),
        ("together", "cartesia/sonic-2", Usage(characters=1_000_000), "65"),
        ("together", "openai/whisper-large-v3", Usage(milliseconds=60_000), "0.0015"),
        ("together", "black-forest-labs/FLUX.1-schnell", Usage(images=1, pixels=10**6), "0.0027"),
        ("together", "black-forest-labs/FLUX.1-schnell", Usage(pixels=10**6, pixel_steps=8 * 10**6), "0.0054"),
        ("together", "black-forest-labs/FLUX.2-pro", Usage(pixels=10**6, pixel_steps=99 * 10**6), "0.03"),
        ("openai", "whisper-1", Usage(milliseconds=1_000), "0.0001"),
        ("openai", "tts-1", Usage(characters=1), "0.000015"),
        ("openai", "gpt-4o", Usage(10**6, 400_000, 10**6), "12.00"),
    ],
)
def test_the_prices_of_other_units_that_come_along(provider, model, usage, usd):
    card = load_prices().card(provider, model, NOW)
    assert card.cost(usage) == Decimal(usd) * 10**12
    assert card.source


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
    "no price": (entry(input=None), "price 1 (a): a price of a has no price"),
    "a word": (entry(input='"cheap"'), "price 1 (a): `input`: a price must be a decimal number"),
    "negative": (entry(output="-1"), "price 1 (a): `output`: a price must be 0 to"),
    "too many digits": (entry(cached='"0.0000001"'), "price 1 (a): `cached`: a price has at most six decimals"),
    "a switch as a price": (entry(input="true"), "price 1 (a): `input` must be a price"),
    "nan": (entry(input="nan"), "price 1 (a): `input`: a price must be 0 to"),
    "a misspelled key": (entry(cahced='"1"'), "price 1 (a): `cahced` is no key of a price"),
    "a date in quotes": (entry(valid_from='"2026-09-01"'), "price 1 (a): `valid_from` must be a date"),
    "a date before time": (entry(valid_from="1969-12-31"), "price 1 (a): `valid_from` must not be before 1970"),
    "time twice": (entry(minute='"1"', hour='"60"'), "price 1 (a): `minute` is one price too many"),
    "steps in words": (entry(megapixel='"1"', steps='"four"'), "price 1 (a): `steps` must be a whole number"),
    "steps of nothing": (entry(steps="4"), "price 1 (a): `steps` are what a price per `megapixel` pays for"),
    "a picture twice": (entry(image='"1"', megapixel='"1"'), "price 1 (a): a picture is billed once"),
    "too many digits of a second": (entry(second='"0.0000000000000001"'), "`second`: a price has at most twelve"),
    "euros": (entry(currency='"EUR"'), "price 1 (a): prices are in USD, not 'EUR'"),
    "a class of its own": (entry(**{"class": '"flex"'}), "price 1 (a): a class is one of live, batch, not 'flex'"),
    "a discount too fine": (entry(discount='"0.00001"'), "price 1 (a): `discount` must be a percentage"),
    "a discount of more than all": (entry(discount="101"), "price 1 (a): `discount` must be a percentage"),
    "a discount of nothing known": (entry(discount='"nan"'), "price 1 (a): `discount` must be a percentage"),
    "a tier without tokens": (entry() + b"\n[[price.above]]\ninput = '2'", "price 1 (a): `tokens` of [[price.above]]"),
    "a tier without prices": (entry() + b"\n[[price.above]]\ntokens = 9", "the tier above 9 tokens needs prices"),
    "a tier of pictures": (entry() + b"\n[[price.above]]\ntokens = 9\nimage = 1", "`image` is no key of [[price.abo"),
    "a tier twice": (entry() + b"\n[[price.above]]\ntokens = 9\ninput = 1" * 2, "price 1 (a): tiers stand in order"),
    "tiers that are none": (entry(above="3"), "price 1 (a): `above` must be tables"),
    "only for long prompts": (
        entry(input=None, discount="5") + b"\n[[price.above]]\ntokens = 9\ninput = 1",
        "what long prompts cost stands",
    ),
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


# ---------------------------------------------------------------------------------------------------------- writing


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@st.composite
def rows(draw):
    prices = {name: draw(st.none() | st.integers(0, 10**16)) for name in PRICES}
    for name in ("input", "output"):
        prices[name] = draw(st.integers(0, 10**12))
    for name in (*TOKEN_PRICES, "character"):
        prices[name] = None if prices[name] is None else prices[name] % 10**12
    if prices["image"] is not None:
        prices["megapixel"] = None
    lengths = draw(st.lists(st.integers(1, 10**9), max_size=3, unique=True).map(sorted))
    return Price(
        tiers=tuple(Tier(above_tokens=tokens, input=draw(st.integers(0, 10**12))) for tokens in lengths),
        processing=draw(st.sampled_from(CLASSES)),
        discount=draw(st.none() | st.integers(0, 10**6)),
        provider=draw(NAMES),
        names=tuple(draw(st.lists(NAMES, min_size=1, max_size=3))),
        **prices,
        steps=draw(st.none() | st.integers(1, 99)) if prices["megapixel"] is not None else None,
        valid_from=draw(st.just(0) | st.integers(1, 4_000_000_000_000_000)),
        source=draw(st.just("") | NAMES),
        retrieved=draw(st.just("") | NAMES),
        unpriced=draw(st.booleans()),
    )


@given(rows())
def test_an_entry_that_was_written_is_read_as_it_was(price):
    assert parse_prices(price_entry(price).encode(), "p.toml") == [price]


def test_entries_are_added_to_a_file_and_what_stands_there_stays(tmp_path):
    path = tmp_path / "p.toml"
    first, second = (Price(provider="together", names=(name,), image=7) for name in ("a", "b"))
    append_prices(path, [first])
    path.write_bytes(b"# mine\n" + path.read_bytes().rstrip(b"\n"))
    path.chmod(0o640)
    append_prices(path, [second])
    assert path.read_text().startswith("# mine\n[[price]]")
    assert parse_prices(path.read_bytes(), "p.toml") == [first, second]
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["p.toml"]


def test_a_file_that_is_no_price_file_is_not_added_to(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("price: 3")
    with pytest.raises(ConfigurationError, match="not TOML"):
        append_prices(path, [Price(provider="p", names=("m",), image=7)])
    assert path.read_text() == "price: 3"
