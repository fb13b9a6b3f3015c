"""Defaults < user file < project file < environment < flags; every value knows where it came from."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.config import PICO, load_here, load_settings, user_folder

SOURCES = ("user", "project", "environment", "flag")


def test_without_any_source_the_defaults_hold(desk):
    loaded = desk.load()
    settings = loaded.settings
    assert settings.db == desk.cwd / "batchrunner.db"
    assert settings.provider == "together"
    assert settings.confirm_above == PICO
    assert settings.grace == 60.0
    assert (settings.concurrency, settings.rpm, settings.tpm) == (None, None, None)
    assert (settings.yes, settings.no_input, settings.verbose) == (False, False, 0)
    assert loaded.origins["rpm"] == (None, "default")
    assert loaded.origins["providers.together.base_url"] == ("https://api.together.xyz", "built in")
    assert loaded.notes == ()


def test_the_built_in_providers_know_their_host_and_variable(desk):
    providers = desk.load().settings.providers
    assert {name: (each.base_url, each.key_env, each.quirks) for name, each in providers.items()} == {
        "together": ("https://api.together.xyz", "TOGETHER_API_KEY", "together"),
        "openai": ("https://api.openai.com", "OPENAI_API_KEY", "openai"),
    }


@given(st.sets(st.sampled_from(SOURCES)))
def test_the_highest_source_wins_and_is_named(tmp_path_factory, present):
    folder = tmp_path_factory.mktemp("desk")
    env, flags = {}, {}
    if "user" in present:
        (folder / "config.toml").write_text('\nrpm = "1k"\n')
    if "project" in present:
        (folder / "batchrunner.toml").write_text("\n\nrpm = 2_000\n")
    if "environment" in present:
        env["BATCHRUNNER_RPM"] = "3k"
    if "flag" in present:
        flags["rpm"] = 4_000.0
    expected = (None, "default")
    for source, value in zip(SOURCES, (1_000.0, 2_000.0, 3_000.0, 4_000.0), strict=True):
        if source in present:
            expected = (
                value,
                {
                    "user": f"file {folder}/config.toml:2",
                    "project": f"file {folder}/batchrunner.toml:3",
                    "environment": "environment BATCHRUNNER_RPM",
                    "flag": "flag --rpm",
                }[source],
            )
    loaded = load_settings(flags, env, folder, folder)
    assert loaded.settings.rpm == expected[0]
    assert loaded.origins["rpm"] == expected


@pytest.mark.parametrize(
    ("name", "in_file", "in_env", "value"),
    [
        ("provider", '"openai"', "openai", "openai"),
        ("concurrency", '"1k"', "1k", 1_000),
        ("tpm", '"2M"', "2M", 2_000_000.0),
        ("confirm_above", "12.50", "$12.50", 12_500_000_000_000),
        ("grace", '"2m"', "2m", 120.0),
        ("max_tries", "7", "7", 7),
        ("reserve", '"upper"', "upper", "upper"),
        ("progress", '"json"', "json", "json"),
        ("color", '"never"', "never", "never"),
    ],
)
def test_an_option_reads_the_same_in_a_file_and_in_the_environment(desk, name, in_file, in_env, value):
    desk.project(f"{name} = {in_file}")
    assert getattr(desk.load().settings, name) == value
    desk.project("")
    desk.env[f"BATCHRUNNER_{name.upper()}"] = in_env
    assert getattr(desk.load().settings, name) == value


@pytest.mark.parametrize("name", ["yes", "no_input", "debug", "quiet"])
def test_a_switch_is_for_flags_and_the_environment_never_for_a_file(desk, name):
    assert getattr(desk.load(**{name: True}).settings, name) is True
    desk.env[f"BATCHRUNNER_{name.upper()}"] = "1"
    assert getattr(desk.load().settings, name) is True
    assert getattr(desk.load(**{name: False}).settings, name) is True, "a flag that was not given decides nothing"
    desk.project(f"{name} = true")
    desk.refused(name, "batchrunner.toml:1", hint=(f"--{name.replace('_', '-')}",))


def test_an_empty_variable_counts_as_not_set(desk):
    desk.env |= {"BATCHRUNNER_RPM": "", "TOGETHER_BASE_URL": "", "BATCHRUNNER_CONFIG": ""}
    loaded = desk.load()
    assert loaded.settings.rpm is None
    assert loaded.settings.providers["together"].base_url == "https://api.together.xyz"


def test_flags_that_were_not_given_decide_nothing(desk):
    desk.project('rpm = 5\nprice_files = ["p.toml"]\n[tags]\nteam = "a"')
    loaded = desk.load(
        price_files=(), rpm=None, yes=False, verbose=0, tags=(), settings=(), base_url=None, config=None, db=None
    )
    assert loaded.settings.rpm == 5.0
    assert loaded.settings.price_files == (desk.cwd / "p.toml",)
    assert loaded.settings.tags == (("team", "a"),)


def test_paths_start_where_they_are_written(desk, tmp_path):
    desk.user('price_files = ["mine.toml", "~/home.toml", "/abs.toml"]\ndb = "user.db"')
    settings = desk.load().settings
    assert settings.db == desk.user_dir / "user.db"
    assert settings.price_files == (desk.user_dir / "mine.toml", tmp_path / "home.toml", Path("/abs.toml"))
    desk.env |= {"BATCHRUNNER_DB": "queue/q.db", "BATCHRUNNER_PRICE_FILES": "a.toml:b.toml"}
    settings = desk.load().settings
    assert settings.db == desk.cwd / "queue/q.db"
    assert settings.price_files == (desk.cwd / "a.toml", desk.cwd / "b.toml")
    assert desk.load(db=Path("/elsewhere/q.db")).settings.db == Path("/elsewhere/q.db")


def test_tags_of_all_sources_come_together(desk):
    desk.user('[tags]\nteam = "search"\nwho = "me"')
    desk.project('[tags]\nteam = "ads"')
    loaded = desk.load(tags=[("run", "7"), ("who", "you")])
    assert loaded.settings.tags == (("run", "7"), ("team", "ads"), ("who", "you"))
    assert loaded.origins["tags.team"] == ("ads", f"file {desk.project_file}:2")
    assert loaded.origins["tags.who"] == ("you", "flag --tag")


def test_flags_about_lines_become_the_options_of_the_job(desk):
    settings = desk.load(provider="openai", model="m", endpoint="chat", settings=[("b", "2"), ("a", '"x"')]).settings
    assert settings.job.provider == "openai"
    assert (settings.job.model, settings.job.endpoint) == ("m", "chat")
    assert settings.job.settings == (("a", '"x"'), ("b", "2"))


def test_limit_and_sample_exclude_each_other(desk):
    assert desk.load(limit=10).settings.limit == 10
    assert desk.load(sample=10).settings.sample == 10
    desk.refused("--limit", "--sample", hint=("one of them",), limit=1, sample=1)


def test_a_named_file_stands_in_for_the_one_in_the_working_folder(desk, tmp_path):
    desk.project("rpm = 1\ntpm = 1")
    other = tmp_path / "other.toml"
    other.write_text("rpm = 2")
    by_flag = desk.load(config=str(other)).settings
    assert (by_flag.rpm, by_flag.tpm) == (2.0, None)
    desk.env["BATCHRUNNER_CONFIG"] = "../other.toml"
    assert desk.load().settings.rpm == 2.0


def test_a_named_file_must_be_there(desk):
    desk.refused("nowhere.toml", "No such file", hint=("path",), config="nowhere.toml")


def test_naming_the_users_own_file_does_not_make_a_stranger_of_it(desk):
    desk.user('[providers.together]\nbase_url = "https://gateway.example.com"')
    assert (
        desk.load(config=str(desk.user_file)).settings.providers["together"].base_url == "https://gateway.example.com"
    )


def test_a_mistyped_variable_is_noted_and_named(desk):
    desk.env["BATCHRUNNER_CONCURENCY"] = "3"
    (note,) = desk.load().notes
    assert "BATCHRUNNER_CONCURENCY" in note
    assert "did you mean BATCHRUNNER_CONCURRENCY?" in note


def test_an_unknown_flag_name_is_refused_with_the_one_that_was_meant(desk):
    desk.refused("'concurency'", hint=("'concurrency'",), concurency=3)
    desk.refused("'qqqq'", hint=("rpm",), qqqq=3)


def test_x4_without_a_home_the_working_folder_is_not_taken_for_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert user_folder() == tmp_path / "batchrunner"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert user_folder() is None
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: Path("~/.config") / name)
    assert user_folder() is None


def test_the_process_is_read_where_it_stands(desk, monkeypatch, canary_key):
    desk.project("rpm = 3")
    monkeypatch.chdir(desk.cwd)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(desk.user_dir))
    monkeypatch.setenv("TOGETHER_API_KEY", canary_key)
    (desk.user_dir / "batchrunner").mkdir()
    (desk.user_dir / "batchrunner" / "config.toml").write_text("tpm = 4")
    loaded = load_here({"concurrency": 5})
    settings = loaded.settings
    assert (settings.concurrency, settings.rpm, settings.tpm) == (5, 3.0, 4.0)
    assert loaded.key_for("together").reveal() == canary_key


def test_x4_without_a_user_folder_or_a_home_everything_else_works(tmp_path):
    assert load_settings({}, {}, tmp_path, None).settings.db == tmp_path / "batchrunner.db"


def test_configuration_imports_no_http_client_no_database_and_nothing_late():
    code = (
        "import sys, batchrunner.config\n"
        "print(*{'httpx', 'aiohttp', 'anyio', 'sqlalchemy', 'click', 'platformdirs', 'msgspec'} & set(sys.modules))"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert child.stdout.split() == []
