"""Notices to an address on the web: what is posted where, what is tried again, and what is never said."""

import httpx
import pytest

from batchrunner.core.errors import ConfigurationError
from batchrunner.transport.webhook import TRIES, WebhookNotifier, check_webhook

URL = "https://hooks.example/services/a-secret-path?token=xyz"


class Host(httpx.AsyncBaseTransport):
    """Answers with these statuses, or raises what stands there instead of one."""

    def __init__(self, *answers: int | httpx.TransportError) -> None:
        self.answers = list(answers)
        self.seen: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, httpx.TransportError):
            raise answer
        return httpx.Response(answer, headers={"location": "https://elsewhere.example/"})


pytestmark = pytest.mark.usefixtures("virtual_time")


async def test_a_notice_is_posted_once_with_nothing_but_itself() -> None:
    host = Host(204)
    assert await WebhookNotifier(URL, engine=host).tell(b'{"event":"ended"}') is None
    (request,) = host.seen
    assert (request.method, str(request.url), request.content) == ("POST", URL, b'{"event":"ended"}')
    assert "authorization" not in request.headers
    assert "cookie" not in request.headers


async def test_what_may_pass_is_tried_again_and_then_reported() -> None:
    host = Host(503, httpx.ConnectError("down"), 200)
    assert await WebhookNotifier(URL, engine=host).tell(b"{}") is None
    host = Host(*[500] * 10)
    problem = await WebhookNotifier(URL, engine=host).tell(b"{}")
    assert problem == "hooks.example answered HTTP 500: the notification was not delivered"
    assert len(host.seen) == TRIES


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    host = Host(status)
    problem = await WebhookNotifier(URL, engine=host).tell(b"{}")
    assert problem is not None
    assert "redirect" in problem
    assert len(host.seen) == 1


async def test_a_refusal_is_not_tried_again_and_the_address_is_not_shown() -> None:
    host = Host(404)
    problem = await WebhookNotifier(URL, engine=host).tell(b"{}")
    assert problem is not None
    assert "a-secret-path" not in problem
    assert "xyz" not in problem
    assert len(host.seen) == 1


@pytest.mark.parametrize("url", ["https://a.example/x", URL, "http://127.0.0.1:8080/x", "http://localhost/x"])
def test_https_anywhere_and_http_to_this_machine_will_do(url: str) -> None:
    assert check_webhook(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/x",
        "ftp://a.example/x",
        "file:///etc/passwd",
        "https://user:secret@a.example/x",
        "https://a.example/x#part",
        "https://a.example\\@evil.example/",
        "https:///x",
        "https://a.example:0/",
        "https://a.example:99999/",
        "https://a.exa\nmple/",
        "http://127.0.0.1.evil.example/",
    ],
)
def test_everything_else_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        check_webhook(url)
    assert "secret" not in refused.value.message
