"""The limits of a lane: the most particular one counts, and a person at the keyboard beats every file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.config import DEFAULT_CONCURRENCY, ModelLimits, Settings, limits_for, load_settings
from batchrunner.config.settings import ProviderSettings
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.job import JobOptions

LLAMA = "meta-llama/Llama-3.3-70B-Instruct-Turbo"


def test_without_limits_a_lane_has_the_default_concurrency_and_no_rates(desk):
    assert limits_for(desk.load().settings, "together", LLAMA) == (DEFAULT_CONCURRENCY, None, None, True)


def test_each_section_speaks_for_what_it_names(desk):
    desk.project(
        f"""
        concurrency = 10
        rpm = 100
        tpm = 1000
        [providers.together]
        rpm = 200
        tpm = "2k"
        [providers.together.models."{LLAMA}"]
        tpm = "3k"
        """
    )
    settings = desk.load().settings
    assert limits_for(settings, "together", LLAMA) == (10, 200.0, 3_000.0, False)
    assert limits_for(settings, "together", "other") == (10, 200.0, 2_000.0, False)
    assert limits_for(settings, "openai", LLAMA) == (10, 100.0, 1_000.0, False)


@pytest.mark.parametrize("way", ["flag", "environment"])
def test_flags_and_environment_beat_every_section(desk, way):
    desk.project(f'[providers.together]\nrpm = 200\n[providers.together.models."{LLAMA}"]\nrpm = 300\ntpm = 5')
    flags = {"rpm": 7.0} if way == "flag" else {}
    if way == "environment":
        desk.env["BATCHRUNNER_RPM"] = "7"
    assert limits_for(desk.load(**flags).settings, "together", LLAMA) == (DEFAULT_CONCURRENCY, 7.0, 5.0, True)


@pytest.mark.parametrize("way", ["flag", "environment", "file"])
def test_auto_hides_the_numbers_behind_it(desk, way):
    desk.project(
        f"""
        concurrency = 40
        rpm = 100
        tpm = 1000
        [providers.together]
        {'concurrency = "auto"' if way == "file" else ""}
        {'rpm = "auto"' if way == "file" else ""}
        """
    )
    flags = {"concurrency": "auto", "rpm": "auto"} if way == "flag" else {}
    if way == "environment":
        desk.env["BATCHRUNNER_CONCURRENCY"], desk.env["BATCHRUNNER_RPM"] = "auto", "auto"
    assert limits_for(desk.load(**flags).settings, "together", LLAMA) == (DEFAULT_CONCURRENCY, None, 1_000.0, True)


def test_a_model_may_be_fixed_where_all_else_is_learned(desk):
    desk.project(f'concurrency = "auto"\nrpm = "auto"\n[providers.together.models."{LLAMA}"]\nconcurrency = 5\nrpm = 7')
    settings = desk.load().settings
    assert limits_for(settings, "together", LLAMA) == (5, 7.0, None, False)
    assert limits_for(settings, "together", "other") == (DEFAULT_CONCURRENCY, None, None, True)


@given(st.lists(st.none() | st.integers(1, 1_000), min_size=4, max_size=4))
def test_the_first_that_is_set_counts_insisted_model_provider_top(tmp_path_factory, levels):
    insisted, model, provider, top = levels
    settings = Settings(
        db=tmp_path_factory.getbasetemp() / "q.db",
        provider="p",
        providers={
            "p": ProviderSettings(
                name="p",
                base_url="https://h",
                key_env="",
                limits=ModelLimits(concurrency=provider),
                models={"m": ModelLimits(concurrency=model)},
            )
        },
        job=JobOptions(provider="p"),
        concurrency=top,
        insisted=ModelLimits(concurrency=insisted),
    )
    expected = next((level for level in levels if level is not None), DEFAULT_CONCURRENCY)
    assert limits_for(settings, "p", "m").concurrency == expected


def test_a_provider_that_is_configured_no_more_is_named(tmp_path):
    settings = load_settings({}, {}, tmp_path, None).settings
    with pytest.raises(ConfigurationError, match="no provider 'gone'") as refusal:
        limits_for(settings, "gone", "m")
    assert "[providers.gone]" in refusal.value.hint
