"""A base URL can send the key and the prompts to one place only, and that place is the one it shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.errors import ConfigurationError
from batchrunner.transport.hosts import host_label, is_loopback, join, normalise


@pytest.mark.parametrize(
    ("given_url", "base"),
    [
        ("https://api.together.xyz/v1", "https://api.together.xyz"),
        ("https://api.together.ai", "https://api.together.ai"),
        ("https://api.together.ai/", "https://api.together.ai"),
        ("https://api.openai.com/v1/", "https://api.openai.com"),
        ("https://api.openai.com/v1//", "https://api.openai.com"),
        ("HTTPS://API.OpenAI.com:443/v1", "https://api.openai.com"),
        ("https://host:8443/v1", "https://host:8443"),
        ("https://gateway.example/team-a/openai/v1", "https://gateway.example/team-a/openai"),
        ("https://host/v1beta", "https://host/v1beta"),
        ("https://host/v1/v1", "https://host"),
        ("http://localhost:8000/v1", "http://localhost:8000"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.9.9.9/v1", "http://127.9.9.9"),
        ("http://[::1]:8000/v1", "http://[::1]:8000"),
        ("https://[2001:db8::1]/v1", "https://[2001:db8::1]"),
    ],
)
def test_a_base_url_is_taken_as_people_write_it(given_url, base):
    assert normalise(given_url) == base


@pytest.mark.parametrize(
    "bad",
    [
        "",
        " ",
        "api.openai.com",
        "//api.openai.com",
        "https://",
        "https:///v1",
        "https:/api.openai.com",
        "ftp://api.openai.com",
        "file:" + "///etc/passwd",
        "javascript:alert(1)",
        "http://api.openai.com",
        "http://192.168.0.7:8000",
        "http://0.0.0.0:8000",
        "http://127.1",
        "http://2130706433",
        "http://0x7f000001",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://[::ffff:8.8.8.8]",
        "https://user@api.openai.com",
        "https://user:pass@api.openai.com",
        "https://api.openai.com@evil.example",
        "http://localhost:8000@evil.example",
        "https://api.openai.com\\@evil.example",
        "https://api.openai.com/v1?x=1",
        "https://api.openai.com/v1?",
        "https://api.openai.com/v1#x",
        "https://api.openai.com#",
        "https://api.openai.com/v1\r\nX: y",
        "https://api.openai.com\t",
        "\thttps://api.openai.com",
        "https://api.openai.com\x00",
        "https://аpi.openai.com",
        "https://api.openai.com:0",
        "https://api.openai.com:",
        "https://api.openai.com:http",
        "https://api.openai.com:99999",
        "https://[::1",
        "https://[not-an-address]",
        "https://api.openai.com/../v1",
        "https://api.openai.com/a/./b",
        "https://api.openai.com/%2e%2e/v1",
        "https://api.openai.com//evil.example",
        "https://.",
        "https://-x",
    ],
)
def test_x2_a_base_url_that_could_lead_astray_is_refused_with_advice(bad):
    with pytest.raises(ConfigurationError) as refused:
        normalise(bad)
    assert "https://host" in (refused.value.hint or "")
    assert "user:pass" not in refused.value.message


@given(
    scheme=st.sampled_from(["https", "HTTPS"]),
    host=st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{2,5}){1,2}", fullmatch=True),
    port=st.none() | st.integers(1, 65535),
    prefix=st.lists(st.sampled_from(["v1", "api", "v1beta", "x-y", "v1.0"]), max_size=4),
    tail=st.sampled_from(["", "/", "//"]),
)
def test_normalising_twice_changes_nothing_and_v1_comes_once(scheme, host, port, prefix, tail):
    base = normalise(f"{scheme}://{host}{'' if port is None else f':{port}'}/{'/'.join(prefix)}{tail}")
    assert normalise(base) == base
    assert not base.endswith(("/", "/v1"))
    assert base.startswith(f"https://{host}")
    assert host_label(base) == (host if port in (None, 443) else f"{host}:{port}")


@given(st.text(max_size=60) | st.text(alphabet="htps:/@.?#[]%\\v1local0127 \t", max_size=40))
def test_whatever_is_given_is_taken_or_refused(text):
    try:
        base = normalise(text)
    except ConfigurationError:
        return
    assert normalise(base) == base
    assert (
        base.startswith("https://")
        or is_loopback(host_label(base).rpartition(":")[0] or host_label(base))
        or "[" in base
    )


@pytest.mark.parametrize(
    "hostile",
    [
        "https://evil.example/v1/chat/completions",
        "//evil.example/v1",
        "/\\evil.example",
        "@evil.example/v1",
        ".evil.example",
        ":80/v1",
        "/v1/../../x",
        "/v1/..%2f",
        "/v1/x?y=1",
        "/v1/x#y",
        "/v1/x\r\nHost: evil.example",
        "v1/chat",
        "",
        "/",
        "/v1//x",
        "/V1/CHAT",
    ],
)
def test_s1_a_path_can_not_move_the_host(hostile):
    with pytest.raises(ConfigurationError):
        join("https://api.example.com", hostile)


def test_a_path_of_the_registry_is_put_behind_the_base():
    assert join("https://host/prefix", "/v1/chat/completions") == "https://host/prefix/v1/chat/completions"


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("https://host/v1", "host"),
        ("https://user:pw@proxy:3128", "proxy:3128"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("https://[", "an unreadable host"),
        ("", "an unnamed host"),
    ],
)
def test_a_label_shows_the_host_and_no_login(url, label):
    assert host_label(url) == label
