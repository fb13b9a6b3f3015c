"""A transport is put together safely: certificates, proxies, open files, and nothing heavy before its time."""

import resource
import ssl
import subprocess
import sys

import pytest

from batchrunner.core.errors import ConfigurationError
from batchrunner.transport import open as opening
from batchrunner.transport.aiohttp_engine import AiohttpTransport
from batchrunner.transport.open import allow_files, open_transport, tls_context
from batchrunner.transport.proxies import environment_proxy
from batchrunner.transport.secret import Secret
from tests.canary import CANARY_KEY
from tests.transport.raw import BODY, call, good, serving


async def test_an_opened_transport_sends():
    async with (
        serving(good) as server,
        open_transport(f"{server.url}/v1", Secret(CANARY_KEY), connections=4) as transport,
    ):
        reply = await transport.send(call())
    assert reply.body == BODY


@pytest.mark.parametrize("url", ["http://api.openai.com", "https://user:pw@api.openai.com"])
def test_an_unsafe_base_url_is_refused(url):
    with pytest.raises(ConfigurationError):
        open_transport(url, None, connections=1)


def test_certificates_and_names_are_always_verified():
    context = tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.get_ca_certs(), "somebody must be trusted"


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_an_unusable_authority_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"ca\.pem"):
        tls_context(str(path))


@pytest.fixture
def proxies_used(monkeypatch):
    """The proxies that engines are made with."""
    used = []

    def make(**options):
        used.append(options["proxy"])
        return AiohttpTransport(**options)

    monkeypatch.setattr("batchrunner.transport.aiohttp_engine.AiohttpTransport", make)
    monkeypatch.setenv("HTTPS_PROXY", "http://user:pw@proxy.example:3128")
    return used


async def test_n26_proxies_of_the_environment_are_off_until_asked_for(proxies_used):
    open_transport("https://api.example.com", None, connections=1)
    open_transport("https://api.example.com", None, connections=1, trust_env=True)
    proxy = "http://user:pw@proxy.example:3128"
    assert proxies_used == [None, None, proxy, proxy], "calls and downloads go the same way"


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({}, "https://api.example.com", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https://api.example.com", "http://p:1"),
        ({"https_proxy": "http://p:1"}, "https://api.example.com", "http://p:1"),
        ({"ALL_PROXY": "http://p:1"}, "https://api.example.com", "http://p:1"),
        ({"HTTPS_PROXY": "p:1"}, "https://api.example.com", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "https://api.example.com", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example.com"}, "https://api.example.com", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, "https://api.example.com", None),
        ({"HTTP_PROXY": "http://p:1", "ALL_PROXY": "http://p:1"}, "http://127.0.0.1:8000", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https://localhost:8000", None),
    ],
)
def test_the_environment_is_read_as_curl_reads_it(monkeypatch, variables, url, proxy):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert environment_proxy(url) == proxy


def test_a_proxy_of_another_kind_is_refused_without_its_login(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://user:pw@p:1")
    with pytest.raises(ConfigurationError) as refused:
        environment_proxy("https://api.example.com")
    assert "user:pw" not in refused.value.message


class TestOpenFiles:
    @pytest.fixture
    def limits(self, monkeypatch):
        """A pretended limit of open files, (soft, hard), as a list to read back."""
        limit = [256, 4096]
        monkeypatch.setattr(opening.resource, "getrlimit", lambda _: tuple(limit))
        monkeypatch.setattr(opening.resource, "setrlimit", lambda _, new: limit.__setitem__(slice(None), new))
        return limit

    def test_enough_is_left_alone(self, limits):
        allow_files(256)
        assert limits == [256, 4096]

    def test_too_few_are_raised_as_far_as_needed(self, limits):
        allow_files(1000)
        assert limits == [1000, 4096]

    def test_more_than_the_system_allows_is_refused_with_the_figure_that_works(self, limits):
        with pytest.raises(ConfigurationError, match="4096") as refused:
            allow_files(5000)
        assert "4032" in (refused.value.hint or "")
        assert limits == [256, 4096]

    def test_no_limit_is_enough(self, limits):
        limits[:] = [resource.RLIM_INFINITY, resource.RLIM_INFINITY]
        allow_files(1_000_000)


def test_aiohttp_is_not_imported_before_a_transport_is_opened():
    code = "import sys, batchrunner.transport.open, batchrunner.transport.models; print('aiohttp' in sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert child.stdout.strip() == "False"
