"""What can't work is refused before anything runs: the value, the reason, where it stands, a value that works."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.config import load_settings
from batchrunner.config.files import lines_of
from batchrunner.core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("name", "value", "words", "example"),
    [
        ("concurrency", 0, ["concurrency = 0", "from 1 to 100,000"], "--concurrency 64"),
        ("concurrency", 10**9, ["1000000000", "from 1 to 100,000"], "--concurrency 64"),
        ("concurrency", -1, ["-1", "from 1 to 100,000"], "--concurrency 64"),
        ("rpm", float("nan"), ["rpm = nan", "600, 3k or 2M"], "--rpm 3k"),
        ("rpm", 0, ["rpm = 0", "greater than 0"], "--rpm 3k"),
        ("rpm", "-3k", ["greater than 0"], "--rpm 3k"),
        ("tpm", float("inf"), ["tpm = inf"], "--tpm 2M"),
        ("max_tries", 0, ["from 1 to 100"], "--max-tries 5"),
        ("grace", "25h", ["from 0s to 24h"], "--grace 60s"),
        ("confirm_above", "-1", ["negative"], "--confirm-above 12.50"),
        ("reserve", "some", ["learned, upper"], "--reserve learned"),
        ("progress", "fancy", ["auto, live, plain, json, none"], "--progress plain"),
        ("color", "red", ["auto, always, never"], "--color never"),
        ("limit", 0, ["from 1 to"], "--limit 100"),
        ("sample", -3, ["from 1 to"], "--sample 100"),
        ("provider", "Together AI", ["lower-case"], "--provider together"),
        ("db", "", ["path of a file"], "--db batchrunner.db"),
        ("db", "sqlite:///q.db", ["not a URL"], "--db batchrunner.db"),
        ("db", "a\0b", ["path of a file"], "--db batchrunner.db"),
        ("db", 3, ["path of a file"], "--db batchrunner.db"),
        ("tags", ["team"], ["pairs"], "research"),
        ("price_files", 3, ["list of paths"], "prices.toml"),
        ("model", "a\nb", ["one line"], "--model"),
        ("tags", {"team": 3}, ["must be text"], "research"),
        ("tags", "team=x", ["pairs"], "research"),
        ("tags", [("a", "1"), ("a", "2")], ["'a' is given twice"], "research"),
        ("settings", {"max_tokens": 512}, ["JSON text", "'512'"], "max_tokens"),
        ("settings", [("model", '"x"')], ["--model NAME"], "max_tokens"),
        ("settings", [("stop", "END")], ["not valid JSON"], "max_tokens"),
    ],
)
def test_x3_a_bad_flag_is_refused(desk, name, value, words, example):
    error = desk.refused(
        *words, f"flag --{ {'tags': 'tag', 'settings': 'set'}.get(name, name.replace('_', '-')) }", **{name: value}
    )
    assert example in error.hint
    assert "\0" not in error.message


def test_a_bad_variable_is_refused_by_its_name(desk):
    desk.env["BATCHRUNNER_CONCURRENCY"] = "lots"
    desk.refused("'lots'", "environment BATCHRUNNER_CONCURRENCY", hint=("BATCHRUNNER_CONCURRENCY=64",))


def test_a_switch_is_true_or_false(desk):
    desk.env["BATCHRUNNER_YES"] = "off"
    assert desk.load().settings.yes is False
    desk.env["BATCHRUNNER_YES"] = "please"
    desk.refused("'please'", "true or false", "environment BATCHRUNNER_YES", hint=("BATCHRUNNER_YES=true",))


def test_x4_a_home_that_is_not_set_is_said(desk):
    del desk.env["HOME"]
    desk.refused("HOME is not set", "whole path", db="~/q.db")


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("rpm = 3k", ["batchrunner.toml", "line 1"], "quotes"),
        ("\n\nconcurrency = 0", ["concurrency = 0", "batchrunner.toml:3"], "concurrency = 64"),
        ("concurency = 3", ["'concurency'", "batchrunner.toml:1"], "'concurrency'"),
        ("[tag]\na = 'b'", ["'tag'", "batchrunner.toml:1"], "'tags'"),
        ("qqqq = 1", ["'qqqq'"], "rpm"),
        ("model = 'x'", ["'model'", "in a file"], "--model"),
        ("yes = true", ["'yes'", "in a file"], "--yes"),
        ("tags = 3", ["tags must be a table"], "[tags]"),
        ("[tags]\nteam = 3", ["tags.team", "must be text", "batchrunner.toml:2"], "team ="),
        ("providers = 3", ["providers must be a table"], "[providers]"),
        ("[providers]\nvllm = 3", ["providers.vllm must be a table"], "[providers.vllm]"),
        ("[providers.Vllm]", ["lower-case", "batchrunner.toml:1"], "[providers.vllm]"),
        ("[providers.vllm]\nbase_url = 'https://h'", ["'vllm' has no key_env", "batchrunner.toml:1"], "key_env ="),
        ("[providers.vllm]\nkey_env = ''", ["'vllm' has no base_url", "batchrunner.toml:1"], "base_url ="),
        ("[providers.vllm]\nbase_uri = 'x'", ["'base_uri'", "batchrunner.toml:2"], "'base_url'"),
        ("[providers.vllm]\nquirks = 'odd'", ["together, openai, generic", "batchrunner.toml:2"], "quirks ="),
        ("[providers.vllm]\ndeadline = '0s'", ["from 1s to 24h"], 'deadline = "10m"'),
        ("[providers.vllm]\nbase_url = 3", ["must be a URL"], "https://"),
        (
            "[providers.vllm]\nbase_url = 'http://h.example'",
            ["providers.vllm.base_url", "batchrunner.toml:2"],
            "https://",
        ),
        ("[providers.together.models.m]\nrmp = 1", ["'rmp'", "batchrunner.toml:2"], "'rpm'"),
        ("[providers.together.models]\nm = 1", ["providers.together.models.m must be a table"], "models.m]"),
        ('[providers.together.models."a/b.c"]\nrpm = 0', ['models."a/b.c".rpm = 0', "batchrunner.toml:2"], "rpm ="),
        ("rpm = " + "9" * 60, ["999..."], "rpm ="),
        ("rpm = 1e999999999", ["1E+999999999"], "rpm ="),
        pytest.param("rpm = 0x" + "f" * 9_000, ["huge number"], "rpm =", id="huge"),
        pytest.param("rpm = " + "[" * 20_000, ["nested too deeply"], "quotes", id="deep"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(desk, text, words, hint):
    desk.project(text)
    desk.refused(*words, hint=(hint,))


@pytest.mark.parametrize("name", ["api_key", "key", "apikey", "secret", "together_api_key", "token"])
@pytest.mark.parametrize("table", ["", "[providers.vllm]\n"])
def test_a_key_in_a_file_is_refused_and_not_repeated(desk, canary_key, name, table):
    desk.project(f'{table}{name} = "{canary_key}"')
    error = desk.refused(f"{name!r}", hint=("never stand in a configuration file",))
    assert canary_key not in f"{error.message}{error.hint}"


@pytest.mark.parametrize("value", ["sk-abcdefgh", "tgp_v1_abcdefgh", "a b", "lower"])
def test_a_key_in_the_place_of_its_variables_name_is_refused_and_not_repeated(desk, value):
    desk.user(f'[providers.vllm]\nbase_url = "https://h.example"\nkey_env = "{value}"')
    error = desk.refused("NAME of the environment variable", "config.toml:3", hint=("key_env =",))
    assert value not in f"{error.message}{error.hint}"


def test_x2_a_password_in_a_base_url_is_refused_and_not_repeated(desk):
    error = desk.refused("base URL", "flag --base-url", base_url="https://me:hunter2@h.example")
    assert "hunter2" not in f"{error.message}{error.hint}"


def test_an_unknown_provider_is_refused_with_those_there_are_and_how_to_add_one(desk):
    desk.refused(
        "'groq'",
        "openai, together",
        "flag --provider",
        hint=("[providers.groq]", "base_url =", "GROQ_API_KEY"),
        provider="groq",
    )


def test_a_file_that_is_not_text_is_refused(desk):
    desk.project_file.write_bytes(b"rpm = 3\n\xff\xfe")
    desk.refused("not UTF-8", "byte 8", hint=("UTF-8",))


def test_a_file_that_is_far_too_large_is_refused(desk):
    desk.project("# " + "x" * (1024 * 1024))
    desk.refused("larger than 1 MiB", hint=("--config",))


def test_a_working_folder_that_can_not_be_looked_into_is_said(tmp_path):
    with pytest.raises(ConfigurationError, match="can't be read: File name too long") as refusal:
        load_settings({}, {}, tmp_path / ("x" * 300), None)
    assert "permissions" in refusal.value.hint


def test_a_folder_in_the_place_of_a_file_is_refused(desk):
    desk.refused("can't be read", "directory", hint=("path",), config=str(desk.cwd))


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(desk):
    desk.project_file.write_bytes(b"\xef\xbb\xbfrpm = 3\r\n[tags]\r\nteam = 'a'\r\n")
    loaded = desk.load()
    assert loaded.settings.rpm == 3.0
    assert loaded.origins["tags.team"].source == f"file {desk.project_file}:3"


@given(st.text(max_size=200))
def test_any_text_in_a_file_is_read_or_refused(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("any")
    (folder / "batchrunner.toml").write_bytes(text.encode("utf-8", "replace"))
    refusal = None
    try:
        load_settings({}, {}, folder, None)
    except ConfigurationError as error:
        refusal = error
    assert refusal is None or refusal.hint


@given(
    st.dictionaries(
        st.text(
            alphabet=st.characters(blacklist_characters='"\\\n\r', blacklist_categories=("Cc", "Cs")),
            min_size=1,
            max_size=9,
        ),
        st.sets(st.sampled_from(["rpm", "tpm", "concurrency"]), min_size=1),
        max_size=4,
    )
)
def test_the_line_of_every_value_is_found(models):
    lines, expected = ["rpm = 1", "", "# rpm = 2"], {("rpm",): 1}
    for model, limits in models.items():
        lines.append(f'  [ providers . together.models."{model}" ]  # [x]')
        for limit in limits:
            lines.append(f"  {limit} = 3")
            expected["providers", "together", "models", model, limit] = len(lines)
    found = lines_of("\n".join(lines))
    assert {path: found.get(path) for path in expected} == expected


def test_a_line_that_only_looks_like_a_key_does_no_harm():
    assert lines_of('"\\q" = 1\nrpm = 2') == {('"\\q"',): 1, ("rpm",): 2}
