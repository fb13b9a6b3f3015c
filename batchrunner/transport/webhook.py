"""Notices to an address on the web: a POST of a small JSON, without any key, that follows no redirect."""

import ssl
from urllib.parse import urlsplit

import anyio
import httpx
import tenacity

from batchrunner.core.errors import ConfigurationError
from batchrunner.transport.hosts import HOST, VISIBLE_ASCII, host_label, is_loopback
from batchrunner.transport.open import tls_context

TRIES = 3
SECONDS_PER_TRY = 8.0


class WebhookNotifier:
    """Posts each notice to one address; 5xx, 429 and broken connections are tried three times in all.

    Raises ConfigurationError for an address that is not ``https://``, or ``http://`` to this machine. The address may
    itself be a secret, so what goes wrong is told with its host only.
    """

    def __init__(self, url: str, *, engine: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = check_webhook(url)
        self._host = host_label(url)
        self._engine = engine
        self._tls: ssl.SSLContext | None = None

    async def tell(self, notice: bytes) -> str | None:
        """Post it; any answer of 200 to 299 will do."""
        retrying = tenacity.AsyncRetrying(  # one for each use: it keeps its state between attempts
            sleep=anyio.sleep,
            stop=tenacity.stop_after_attempt(TRIES),
            wait=tenacity.wait_exponential(multiplier=0.5),
            retry=tenacity.retry_if_result(_worth_another_try),
            retry_error_callback=_last_result,
        )
        status: int | str = await retrying(self._post, notice)
        if isinstance(status, int) and 200 <= status < 300:
            return None
        if isinstance(status, int) and 300 <= status < 400:
            return f"{self._host} answered a notification with a redirect, which is not followed: give its new address"
        said = f"answered HTTP {status}" if isinstance(status, int) else f"could not be reached ({status})"
        return f"{self._host} {said}: the notification was not delivered"

    async def _post(self, notice: bytes) -> int | str:
        """Return the status of one try, or the name of what broke it."""
        engine = self._engine or self._open()
        headers = {"Content-Type": "application/json", "User-Agent": "batchrunner"}
        request = httpx.Request("POST", self._url, headers=headers, content=notice)
        try:
            with anyio.fail_after(SECONDS_PER_TRY):
                response = await engine.handle_async_request(request)
                await response.aclose()
                return response.status_code
        except httpx.TransportError as error:
            return type(error).__name__
        except TimeoutError:
            return "no answer in time"
        finally:
            if self._engine is None:
                with anyio.move_on_after(1.0, shield=True):
                    await engine.aclose()

    def _open(self) -> httpx.AsyncBaseTransport:
        from batchrunner.transport.aiohttp_engine import AiohttpTransport

        if self._url.startswith("https:") and self._tls is None:
            self._tls = tls_context()
        return AiohttpTransport(tls=self._tls)


def check_webhook(url: str) -> str:
    """Return the address as it is. Raises ConfigurationError, which does not quote it."""
    why = _unusable(url)
    if why is None:
        return url
    raise ConfigurationError(
        f"the address to notify can't be used: {why}",
        hint="give it as https://host/path; http:// is for this machine only",
    )


def _unusable(url: str) -> str | None:
    if not VISIBLE_ASCII.fullmatch(url) or "\\" in url or "#" in url:
        return "it holds a space, a backslash, a fragment, a control or a non-ASCII character"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "its host or port can't be read"
    if "@" in parts.netloc:
        return "it holds a user name or password"
    if port == 0 or not (HOST.fullmatch(host) or parts.netloc.startswith("[")):
        return "it names no host"
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)):
        return None
    return "it begins with neither https:// nor, for this machine, http://"


def _worth_another_try(status: int | str) -> bool:
    return isinstance(status, str) or status == 429 or status >= 500


def _last_result(state: tenacity.RetryCallState) -> int | str:
    if state.outcome is None:
        raise RuntimeError("tenacity gave up before it tried")
    result: int | str = state.outcome.result()
    return result
