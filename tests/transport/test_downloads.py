"""Downloads: without the key, from nowhere a stranger could choose, capped in size and time."""

import anyio
import httpx
import pytest

from batchrunner.core.attempt import Failure, FailureKind
from batchrunner.core.http import Fetch, Fetched
from batchrunner.transport.addresses import PublicResolver, RefusedAddressError, check, may_connect
from batchrunner.transport.secret import Secret
from batchrunner.transport.send import HttpTransport
from tests.canary import CANARY_KEY

K = FailureKind
URL = "https://cdn.example.com/a.png?sig=SECRET"


def over(handler, base="https://api.example.com"):
    return HttpTransport(httpx.MockTransport(refuse), base, Secret(CANARY_KEY), downloads=httpx.MockTransport(handler))


def refuse(request):
    raise AssertionError("a download went to the engine that knows the key")


async def fetched(handler, url=URL, most=1000, base="https://api.example.com", deadline=10.0):
    taken = []
    async with over(handler, base) as transport:
        outcome = await transport.fetch(Fetch(url, deadline, most), taken.append)
    return outcome, b"".join(taken)


async def test_a_file_comes_whole_and_nothing_that_goes_out_knows_the_key():
    seen = []

    def handler(request):
        seen.append(request)
        return httpx.Response(200, headers={"content-type": "image/png"}, content=b"picture")

    assert await fetched(handler) == (Fetched("image/png", 7), b"picture")
    (request,) = seen
    assert (request.method, str(request.url)) == ("GET", URL)
    assert "authorization" not in request.headers
    assert CANARY_KEY not in f"{request.headers.raw}"


async def test_redirects_are_followed_while_they_stay_on_https():
    def handler(request):
        if request.url.host == "cdn.example.com":
            return httpx.Response(302, headers={"location": "https://other.example.com/b"})
        return httpx.Response(200, content=b"there")

    assert (await fetched(handler))[1] == b"there"


@pytest.mark.parametrize(
    "to",
    ["http://other.example.com/b", "https://127.0.0.1/x", "https://10.0.0.1/", "ftp://x/y", "", "//169.254.169.254/"],
)
async def test_redirects_off_https_or_into_a_network_are_not_followed(to):
    seen = []

    def handler(request):
        seen.append(str(request.url))
        return httpx.Response(302, headers={"location": to})

    outcome, taken = await fetched(handler)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, taken, len(seen)) == (K.BAD_REPLY, b"", 1)
    assert "SECRET" not in outcome.message


async def test_a_round_of_redirects_ends():
    outcome, _ = await fetched(lambda request: httpx.Response(302, headers={"location": URL}))
    assert isinstance(outcome, Failure)
    assert "redirected" in outcome.message


@pytest.mark.parametrize(
    ("status", "kind"),
    [(403, K.EXPIRED), (404, K.EXPIRED), (410, K.EXPIRED), (429, K.RATE_LIMITED), (500, K.SERVER_ERROR),
     (503, K.OVERLOADED), (206, K.BAD_REPLY)],
)  # fmt: skip
async def test_an_answer_that_is_no_file_says_what_it_is(status, kind):
    outcome, taken = await fetched(lambda request: httpx.Response(status, content=b"<Error/>"))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.status, taken) == (kind, status, b"")
    assert "SECRET" not in outcome.message


async def test_a_file_ends_at_the_cap_said_or_not():
    said = await fetched(lambda request: httpx.Response(200, content=b"x" * 1001))
    assert isinstance(said[0], Failure)
    assert said[0].kind is K.RESPONSE_TOO_LARGE

    async def endless():
        while True:
            yield b"x" * 400

    unsaid, taken = await fetched(lambda request: httpx.Response(200, content=endless()))
    assert isinstance(unsaid, Failure)
    assert unsaid.kind is K.RESPONSE_TOO_LARGE
    assert len(taken) <= 1000


@pytest.mark.usefixtures("virtual_time")
async def test_n9_a_download_that_drips_ends_at_its_deadline():
    async def drip():
        while True:
            await anyio.sleep(1)
            yield b"x"

    outcome, _ = await fetched(lambda request: httpx.Response(200, content=drip()), deadline=30.0)
    assert isinstance(outcome, Failure)
    assert outcome.kind is K.TIMEOUT


async def test_what_the_sink_raises_comes_through():
    def full(_):
        raise OSError(28, "No space left on device")

    async with over(lambda request: httpx.Response(200, content=b"x")) as transport:
        with pytest.raises(OSError, match="No space"):
            await transport.fetch(Fetch(URL, 10.0, 1000), full)


BAD = [
    "http://cdn.example.com/x", "https://127.0.0.1/x", "https://localhost/x", "https://[::1]/x", "https://10.1.2.3/x",
    "https://192.168.0.1/", "https://169.254.169.254/latest/meta-data/", "https://[fe80::1]/", "https://[fc00::1]/",
    "https://[::ffff:10.0.0.1]/", "https://0.0.0.0/", "https://224.0.0.1/", "https://user@cdn.example.com/x",
    "https://user:pw@10.0.0.1/", "file:///etc/passwd", "ftp://cdn.example.com/", "//cdn.example.com/x", "gopher://x",
    "https:///x", "https://cdn.example.com:0/x", "https://cdn.example.com\\@10.0.0.1/", "https://cdn.example.com/ x",
    "https://cdn.example.com/\n", "", "https://[64:ff9b::a00:1]/", "https://[2002:a00:1::]/", "javascript:alert(1)",
    "https://100.64.0.1/", "https://" + "a" * 20_000,
]  # fmt: skip


@pytest.mark.parametrize("url", BAD, ids=range(len(BAD)))
async def test_s1_an_answer_can_send_a_download_to_no_address_of_ours(url):
    seen = []
    outcome, _ = await fetched(lambda request: seen.append(request), url)
    assert isinstance(outcome, Failure)
    assert seen == []


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/f", "http://[::1]/f", "http://localhost/f", "https://127.0.0.1/"]
)
def test_this_machine_is_reached_only_where_the_provider_is_on_it(url):
    check(url, loopback=True)
    with pytest.raises(RefusedAddressError):
        check(url, loopback=False)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [("8.8.8.8", True), ("2606:4700::1111", True), ("10.0.0.1", False), ("::ffff:192.168.1.1", False),
     ("169.254.169.254", False), ("fe80::1%eth0", False), ("2002:0a00:0001::", False), ("64:ff9b::7f00:1", False),
     ("127.0.0.1", False), ("0.0.0.0", False), ("nonsense", False)],
)  # fmt: skip
def test_an_address_is_public_or_not_connected_to(address, allowed):
    assert may_connect(address, loopback=False) is allowed


async def test_a_name_that_leads_into_a_network_is_not_connected_to(monkeypatch):
    resolver = PublicResolver(loopback=False)

    async def names(host, port=0, family=0):
        found = {"mixed": ["10.0.0.1", "8.8.8.8"], "inside": ["192.168.7.7", "127.0.0.1"]}[host]
        return [{"hostname": host, "host": each, "port": port, "family": 2, "proto": 6, "flags": 0} for each in found]

    monkeypatch.setattr(resolver._names, "resolve", names)
    assert [each["host"] for each in await resolver.resolve("mixed", 443)] == ["8.8.8.8"]
    with pytest.raises(OSError, match="private network"):
        await resolver.resolve("inside", 443)
