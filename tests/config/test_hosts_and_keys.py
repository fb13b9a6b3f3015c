"""A key goes to its own host, is checked before use, and is never shown."""

import pprint

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.config import ProviderSettings, fingerprint, key_for
from batchrunner.config.dotenv import DotEnv, read_dotenv
from batchrunner.config.keys import flaw_of
from batchrunner.core.errors import ConfigurationError
from batchrunner.transport.secret import Secret

EVIL = "https://evil.example"
TOGETHER = ProviderSettings(name="together", base_url="https://api.together.xyz", key_env="TOGETHER_API_KEY")


@pytest.fixture
def no_dotenv(tmp_path):
    return DotEnv(tmp_path / ".env")


# -------------------------------------------------------------------------------------------------------- which host


@pytest.mark.parametrize("name", ["together", "openai"])
@pytest.mark.parametrize("url", [EVIL, "https://api.together.xyz", "http://localhost:8000"])
def test_s2_a_project_file_can_not_redirect_a_built_in_provider(desk, name, url):
    desk.project(f'\n[providers.{name}]\nbase_url = "{url}"')
    desk.refused(
        f"can't set providers.{name}.base_url",
        f"{desk.project_file}:3",
        hint=(str(desk.user_file), "--base-url URL", f"{name.upper()}_BASE_URL=URL", "name of its own"),
    )


def test_a_project_file_that_is_named_on_the_command_line_can_not_either(desk, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(f'[providers.together]\nbase_url = "{EVIL}"')
    desk.refused("can't set providers.together.base_url", "other.toml:2", config=str(other))


def test_a_project_file_can_not_redirect_a_provider_of_the_users_own(desk):
    desk.user('[providers.groq]\nbase_url = "https://api.groq.example"\nkey_env = "GROQ_API_KEY"')
    desk.project(f'[providers.groq]\nbase_url = "{EVIL}"')
    desk.refused("can't set providers.groq.base_url", hint=(str(desk.user_file), "--base-url URL"))


def test_a_project_file_can_not_choose_the_variable_of_a_known_provider(desk):
    desk.project('[providers.together]\nkey_env = "GITHUB_TOKEN"')
    error = desk.refused("can't set providers.together.key_env", hint=(str(desk.user_file),))
    assert "--base-url" not in error.hint


@pytest.mark.parametrize("variable", ["TOGETHER_API_KEY", "OPENAI_API_KEY", "GROQ_API_KEY"])
def test_s2_a_project_file_can_not_send_a_known_key_to_a_host_of_its_own(desk, variable):
    desk.user('[providers.groq]\nbase_url = "https://api.groq.example"\nkey_env = "GROQ_API_KEY"')
    desk.project(f'provider = "mine"\n[providers.mine]\nbase_url = "{EVIL}"\nkey_env = "{variable}"')
    desk.refused(
        f"can't send {variable}", "'mine'", f"{desk.project_file}:4", hint=("variable of its own", "config.toml")
    )


def test_a_project_file_may_set_the_limits_of_a_known_provider(desk):
    desk.project('[providers.together]\nrpm = 7\ndeadline = "10m"')
    together = desk.load().settings.providers["together"]
    assert (together.limits.rpm, together.deadline, together.base_url) == (7.0, 600.0, "https://api.together.xyz")


@pytest.mark.parametrize("source", ["user file", "environment", "flag", "own variable"])
def test_flag_environment_and_user_file_redirect_a_built_in_provider(desk, canary_key, source):
    url, flags = "https://gateway.example.com/v1", {}
    desk.env["TOGETHER_API_KEY"] = canary_key
    if source == "user file":
        desk.user(f'[providers.together]\nbase_url = "{url}"')
    elif source == "environment":
        desk.env["TOGETHER_BASE_URL"] = url
    elif source == "own variable":
        desk.env |= {"TOGETHER_BASE_URL": "https://old.example", "BATCHRUNNER_BASE_URL": url}
    else:
        desk.env |= {"TOGETHER_BASE_URL": "https://old.example", "BATCHRUNNER_BASE_URL": "https://older.example"}
        flags["base_url"] = url
    loaded = desk.load(**flags)
    assert loaded.settings.providers["together"].base_url == "https://gateway.example.com"
    assert loaded.key_for("together").reveal() == canary_key


def test_the_base_url_flag_is_for_the_chosen_provider_only(desk):
    providers = desk.load(provider="openai", base_url="http://127.0.0.1:9").settings.providers
    assert providers["openai"].base_url == "http://127.0.0.1:9"
    assert providers["together"].base_url == "https://api.together.xyz"


# ------------------------------------------------------------------------- a host that only a project file vouches for

MINE = f'provider = "mine"\n[providers.mine]\nbase_url = "{EVIL}"\nkey_env = "AWS_SECRET_ACCESS_KEY"'


def test_s2_a_folder_alone_can_not_send_a_variable_to_a_host(desk, canary_key):
    desk.project(MINE)
    desk.env["AWS_SECRET_ACCESS_KEY"] = canary_key
    loaded = desk.load()
    with pytest.raises(ConfigurationError, match="AWS_SECRET_ACCESS_KEY was not sent") as refusal:
        loaded.key_for("mine")
    assert str(desk.project_file) in refusal.value.message
    assert "evil.example" in refusal.value.message
    for way in ("--provider mine", "BATCHRUNNER_PROVIDER=mine", "[providers.mine]"):
        assert way in refusal.value.hint
    assert canary_key not in f"{refusal.value.message}{refusal.value.hint}"


@pytest.mark.parametrize("way", ["flag", "environment", "base url", "loopback", "user file"])
def test_a_person_who_names_the_provider_or_the_host_vouches_for_it(desk, canary_key, way):
    text, flags = MINE, {}
    if way == "flag":
        flags["provider"] = "mine"
    elif way == "environment":
        desk.env["BATCHRUNNER_PROVIDER"] = "mine"
    elif way == "base url":
        flags["base_url"] = "https://ours.example"
    elif way == "loopback":
        text = MINE.replace(EVIL, "http://127.0.0.1:8000")
    else:
        desk.user(MINE)
        text = ""
    desk.project(text)
    desk.env["AWS_SECRET_ACCESS_KEY"] = canary_key
    assert desk.load(**flags).key_for("mine").reveal() == canary_key


def test_naming_one_provider_vouches_for_no_other(desk, canary_key):
    desk.project(MINE)
    desk.env["AWS_SECRET_ACCESS_KEY"] = canary_key
    with pytest.raises(ConfigurationError, match="was not sent"):
        desk.load(provider="together").key_for("mine")


def test_a_key_beside_the_project_file_may_go_where_that_file_says(desk, canary_key, tmp_path):
    desk.project(MINE)
    desk.dotenv(f"AWS_SECRET_ACCESS_KEY={canary_key}")
    assert desk.load().key_for("mine").reveal() == canary_key
    (tmp_path / "other.toml").write_text(MINE)
    with pytest.raises(ConfigurationError, match="was not sent"):
        desk.load(config="../other.toml").key_for("mine")


# --------------------------------------------------------------------------------------------------------- which key


def test_the_environment_beats_the_env_file(desk, canary_key):
    desk.dotenv("TOGETHER_API_KEY=from-the-file")
    loaded = desk.load()
    assert loaded.key_for("together").reveal() == "from-the-file"
    assert loaded.origins["providers.together.key"] == ("set", f"file {desk.cwd}/.env")
    desk.env["TOGETHER_API_KEY"] = canary_key
    loaded = desk.load()
    assert loaded.key_for("together").reveal() == canary_key
    assert loaded.origins["providers.together.key"] == ("set", "environment TOGETHER_API_KEY")


def test_x1_an_empty_variable_is_not_filled_from_the_env_file(desk):
    desk.env["TOGETHER_API_KEY"] = ""
    desk.dotenv("TOGETHER_API_KEY=from-the-file")
    with pytest.raises(ConfigurationError, match="TOGETHER_API_KEY is empty"):
        desk.load().key_for("together")


def test_s2_the_env_file_holds_keys_and_nothing_else(desk):
    desk.dotenv(f"TOGETHER_BASE_URL={EVIL}\nBATCHRUNNER_RPM=5\nBATCHRUNNER_BASE_URL={EVIL}\nOPENAI_API_KEY=k\n")
    loaded = desk.load()
    assert loaded.settings.rpm is None
    assert {each.base_url for each in loaded.settings.providers.values()} == {
        "https://api.together.xyz",
        "https://api.openai.com",
    }
    assert dict(loaded.dotenv) == {"OPENAI_API_KEY": "k"}
    (note,) = loaded.notes
    assert "TOGETHER_BASE_URL, BATCHRUNNER_RPM, BATCHRUNNER_BASE_URL" in note
    assert "only providers' keys" in note
    assert EVIL not in note


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("K=abc", "abc"),
        ("  export K = abc  ", "abc"),
        ("K='a b'", "a b"),
        ('K="abc" # comment', "abc"),
        ("K=abc # comment", "abc"),
        ("K=a#bc", "a#bc"),
        ("K=", ""),
        ("K='open", "'open"),
        ("K=one\r\nK=two\r\n", "two"),
        ("# K=no\n\nK=yes", "yes"),
        ("K=$HOME", "$HOME"),
        ("\ufeffK=abc", "abc"),
    ],
)
def test_a_line_of_the_env_file_is_read(tmp_path, text, value):
    (tmp_path / ".env").write_bytes(text.encode())
    (tmp_path / ".env").chmod(0o600)
    found, notes = read_dotenv(tmp_path, {"K"})
    assert dict(found) == {"K": value}
    assert notes == ()


def test_a_lone_key_in_the_env_file_is_not_repeated(tmp_path, canary_key):
    (tmp_path / ".env").write_text(f"{canary_key}\n" + "".join(f"V{n}=1\n" for n in range(9)))
    found, (note,) = read_dotenv(tmp_path, {"K"})
    assert not found
    assert canary_key not in note
    assert "and 5 more" in note


@pytest.mark.parametrize(
    ("content", "word"), [(b"K=\xff", "not UTF-8"), (b"# " + b"x" * 2**20, "larger than 1 MiB")], ids=["bytes", "size"]
)
def test_an_env_file_that_can_not_be_read_is_noted(tmp_path, content, word):
    (tmp_path / ".env").write_bytes(content)
    found, (note,) = read_dotenv(tmp_path, {"K"})
    assert not found
    assert word in note


def test_an_env_file_in_a_folder_that_can_not_be_looked_into_is_noted(tmp_path):
    found, (note,) = read_dotenv(tmp_path / ("x" * 300), {"K"})
    assert not found
    assert "was not read: File name too long" in note


def test_a_folder_called_env_is_somebody_elses(tmp_path):
    (tmp_path / ".env").mkdir()
    assert read_dotenv(tmp_path, {"K"})[1] == ()


def test_x1_a_missing_key_is_refused_with_its_variable_and_what_to_do(no_dotenv):
    with pytest.raises(
        ConfigurationError, match="no key for provider 'together': TOGETHER_API_KEY is not set"
    ) as refusal:
        key_for(TOGETHER, {}, no_dotenv)
    assert refusal.value.exit_code == 2
    assert "export TOGETHER_API_KEY=..." in refusal.value.hint
    assert ".env" in refusal.value.hint
    assert "No flag takes a key" in refusal.value.hint


def test_a_missing_key_points_at_the_one_that_is_there(no_dotenv, canary_key):
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY is: did you mean --provider openai") as refusal:
        key_for(TOGETHER, {"OPENAI_API_KEY": canary_key}, no_dotenv)
    assert canary_key not in refusal.value.message


def test_a_server_without_a_key_needs_none(no_dotenv):
    local = ProviderSettings(name="vllm", base_url="http://localhost:8000", key_env="")
    assert key_for(local, {"": "x"}, no_dotenv) is None


BAD_KEYS = {
    "": "is empty",
    "  \n": "white space",
    "{}\n": "a line break",
    "{}\r\nX-Evil: 1": "a line break",
    "'{}'": "quotes",
    '"{}': "quotes",
    "\u201c{}\u201d": "quotes",
    " {}": "white space around",
    "{} ": "white space around",
    "Bearer {}": "'Bearer '",
    "bearer {}": "'Bearer '",
    "sk {}": "holds white space",
    "{}\u200b": "can't be part of a key",
    "{}\0": "can't be part of a key",
    "{}é": "can't be part of a key",
}


@pytest.mark.parametrize("pattern", BAD_KEYS)
def test_x1_a_key_that_can_not_be_one_is_refused_precisely_and_never_repeated(no_dotenv, canary_key, pattern):
    with pytest.raises(ConfigurationError) as refusal:
        key_for(TOGETHER, {"TOGETHER_API_KEY": pattern.format(canary_key)}, no_dotenv)
    error = refusal.value
    assert BAD_KEYS[pattern] in error.message
    assert "TOGETHER_API_KEY" in error.message
    assert "environment" in error.message
    assert "bare key" in error.hint
    assert error.exit_code == 2
    assert canary_key not in f"{error!r}{error.message}{error.hint}"


@given(st.text(alphabet=st.sampled_from("abAB019-_.~ \t\r\n\0\x7f'\"\u2019é\u200b"), max_size=12))
def test_x1_whatever_passes_the_check_is_a_key_that_a_header_can_carry(text):
    if flaw_of(text) is None:
        assert Secret(text).reveal() == text


def test_no_key_shows_in_what_was_loaded(desk, canary_key):
    desk.env["TOGETHER_API_KEY"] = canary_key
    desk.dotenv(f"OPENAI_API_KEY={canary_key}")
    loaded = desk.load()
    shown = f"{loaded} {loaded!r} {pprint.pformat(loaded)} {loaded.key_for('together')!r} {loaded.origins}"
    assert canary_key not in shown
    assert "TOGETHER_API_KEY" in repr(loaded.environment)


def test_only_keys_are_kept_of_the_environment(desk):
    desk.env |= {"TOGETHER_API_KEY": "k", "AWS_SECRET_ACCESS_KEY": "other"}
    assert dict(desk.load().environment) == {"TOGETHER_API_KEY": "k"}


def test_a_fingerprint_tells_keys_apart_and_gives_none_away():
    first, again, other = Secret("k-1"), Secret("k-1"), Secret("k-2")
    assert fingerprint(first) == fingerprint(again) != fingerprint(other)
    assert fingerprint(first) != fingerprint(first, salt="another")
    # SHA-256 of "salt:k-1", by sha256sum
    assert fingerprint(first, salt="salt") == "c94c971c"
