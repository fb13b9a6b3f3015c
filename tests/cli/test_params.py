"""Values on the command line, in human units, with usage errors that show how to write them."""

import click
import pytest
from click.testing import CliRunner

from batchrunner.cli.params import COUNT, COUNT_OR_AUTO, DURATION, MONEY, RATE, RATE_OR_AUTO, SETTING, TAG


def run(kind, *args, multiple=False):
    seen = []

    @click.command()
    @click.option("--it", type=kind, multiple=multiple)
    def command(it):
        seen.append(it)

    result = CliRunner().invoke(command, args)
    return result, seen


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (COUNT, "3k", 3_000),
        (COUNT, "-1", -1),
        (COUNT_OR_AUTO, "3k", 3_000),
        (COUNT_OR_AUTO, " auto", "auto"),
        (RATE, "0.3", 0.3),
        (RATE_OR_AUTO, "0.3", 0.3),
        (RATE_OR_AUTO, "auto", "auto"),
        (DURATION, "1h30m", 5_400.0),
        (MONEY, "$12.50", 12_500_000_000_000),
        (TAG, "team=research", ("team", "research")),
        (SETTING, "max_tokens=512", ("max_tokens", "512")),
        (SETTING, "stop=END", ("stop", '"END"')),
    ],
)
def test_a_value_is_read(kind, text, value):
    result, seen = run(kind, "--it", text)
    assert (result.exit_code, seen) == (0, [value])


@pytest.mark.parametrize(
    ("kind", "text", "example"),
    [
        (COUNT, "lots", "500, 3k or 2M"),
        (RATE, "nan", "600, 3k or 2M"),
        (DURATION, "soon", "50ms, 10s, 5m or 6h"),
        (MONEY, "12,50", "12.50"),
        (TAG, "research", "team=research"),
        (SETTING, "max_tokens", "max_tokens=512"),
        (SETTING, "model=x", "--model NAME"),
        (SETTING, "stream=true", "use --stream"),
        (SETTING, "max_tokens=4k", "max_tokens=4000"),
    ],
)
def test_what_can_not_be_read_is_a_usage_error_with_an_example(kind, text, example):
    result, seen = run(kind, "--it", text)
    assert result.exit_code == 2
    assert seen == []
    assert "'--it'" in result.output
    assert example in " ".join(result.output.split())


def test_pairs_are_collected():
    _, seen = run(TAG, "--it", "a=1", "--it", "b=2", multiple=True)
    assert seen == [(("a", "1"), ("b", "2"))]


def test_what_is_read_already_stays_as_it_is():
    assert MONEY.convert(5, None, None) == 5
    assert TAG.convert(("a", "1"), None, None) == ("a", "1")


def test_help_shows_what_kind_of_value_is_wanted():
    result, _ = run(DURATION, "--help")
    assert "--it DURATION" in result.output
