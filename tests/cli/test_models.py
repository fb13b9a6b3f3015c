"""``models``: what the provider says that it has."""

import json
from pathlib import Path

import pytest

from batchrunner.api.catalogue import _model
from batchrunner.formats.pricefile import load_prices
from tests.cli.conftest import CHAT, provider, run_cli


def test_the_catalogue_has_type_context_and_price(here: Path) -> None:
    with provider() as env:
        result = run_cli("models", "--json", env=env)

    facts = json.loads(result.stdout)
    models = {model["id"]: model for model in facts["models"]}
    assert (facts["schema"], facts["provider"]) == ("batchrunner.models/1", "together")
    assert (models[CHAT]["type"], models[CHAT]["context"]) == ("chat", 131_072)
    assert models[CHAT]["usd_per_million_tokens"]["input"] == "1.04"
    assert models[CHAT]["booked"]["source"]
    assert list(models) == sorted(models)


def test_openais_list_has_neither_and_that_is_said(here: Path) -> None:
    with provider(flavour="openai") as env:
        result = run_cli("models", "--provider", "openai", "--json", env=env)

    models = {model["id"]: model for model in json.loads(result.stdout)["models"]}
    assert models["gpt-4o"]["context"] is None
    assert models["gpt-4o"]["usd_per_million_tokens"] == {"input": None, "cached": None, "output": None}


def test_a_model_without_a_booked_price_is_shown_as_unpriced(here: Path) -> None:
    with provider(models=("nobody/knows-it",)) as env:
        result = run_cli("models", env=env)

    (line,) = [line for line in result.stdout.splitlines() if line.startswith("nobody")]
    assert line.endswith("unpriced")


def test_search_narrows_it(here: Path) -> None:
    with provider() as env:
        facts = json.loads(run_cli("models", "--search", "RERANK", "--json", env=env).stdout)

    assert [model["type"] for model in facts["models"]] == ["rerank"]


def test_a_type_filters_and_one_that_is_not_there_names_those_that_are(here: Path) -> None:
    with provider() as env:
        facts = json.loads(run_cli("models", "--type", "Embedding", "--json", env=env).stdout)
        nothing = run_cli("models", "--type", "movie", env=env)

    assert {model["type"] for model in facts["models"]} == {"embedding"}
    assert len(facts["models"]) > 1
    assert "its types are: audio, chat, " in nothing.stderr


def test_the_newer_catalogue_is_read_as_well() -> None:
    entry = {
        "id": "ml_a_b",
        "name": "a/b",
        "displayType": "chat",
        "contextLength": "131072",
        "pricing": {"input": 0.15, "output": 0.6, "cachedInput": 0.05},
    }
    model = _model(entry, "together", load_prices(), 0)
    assert (model.id, model.type, model.context) == ("a/b", "chat", 131_072)
    assert model.listed == (150_000, 50_000, 600_000)
    assert _model({**entry, "contextLength": "many"}, "together", load_prices(), 0).context is None


def test_where_only_the_newer_catalogue_is_left_every_page_of_it_is_read(here: Path) -> None:
    with provider() as env:
        both = json.loads(run_cli("models", "--json", env=env).stdout)["models"]
    with provider(newer_catalogue=True) as env:
        newer = json.loads(run_cli("models", "--json", env=env).stdout)["models"]

    assert len(newer) > 20, "more than two pages"
    assert newer == both


def test_a_refused_key_ends_with_6_and_is_not_shown(here: Path, canary_key: str) -> None:
    with provider(api_key="another-key") as env:
        result = run_cli("models", env={**env, "TOGETHER_API_KEY": canary_key})

    assert (result.exit_code, result.stdout) == (6, "")
    assert "batchrunner doctor" in result.stderr
    assert canary_key not in result.output


def test_a_missing_key_ends_with_2_and_names_the_variable(here: Path) -> None:
    result = run_cli("models")

    assert result.exit_code == 2
    assert "TOGETHER_API_KEY" in result.stderr


@pytest.mark.slow
def test_a_host_that_is_not_there_ends_with_7(here: Path) -> None:
    result = run_cli("models", "--base-url", "http://127.0.0.1:1", env={"TOGETHER_API_KEY": "k"})

    assert result.exit_code == 7
    assert "127.0.0.1:1" in result.stderr
