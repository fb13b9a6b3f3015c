"""Downloads of what answers point at: without the key, capped, and never from where a stranger could send us."""

from collections.abc import Mapping
from typing import Final, cast

import httpx

from batchrunner.core.attempt import Billing, Failure, FailureKind
from batchrunner.core.http import Fetch, Fetched, Sink
from batchrunner.transport.failures import cut
from batchrunner.transport.hosts import host_label
from batchrunner.transport.wire import Outgoing

MOST_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_GONE: Final = frozenset({401, 403, 404, 410})
"""What storage services answer once a signed URL has expired, or its file was swept."""
_KINDS: Final[Mapping[int, FailureKind]] = {
    **dict.fromkeys(_GONE, FailureKind.EXPIRED),
    408: FailureKind.TIMEOUT,
    429: FailureKind.RATE_LIMITED,
    503: FailureKind.OVERLOADED,
}


async def download(
    engine: httpx.AsyncBaseTransport, fetch: Fetch, sink: Sink, *, loopback: bool, agent: str
) -> Fetched | Failure:
    """Download a file into ``sink``; it is whole if Fetched comes back.

    At most three redirects are followed, never from https:// to anything else. Raises httpx.RequestError where the
    network breaks, and what the sink raises.
    """
    from batchrunner.transport.addresses import RefusedAddressError, check

    url = fetch.url
    try:
        for _ in range(MOST_REDIRECTS + 1):
            check(url, loopback=loopback)
            response = await engine.handle_async_request(_request(httpx.URL(url), agent))
            try:
                if response.status_code not in _REDIRECTS:
                    return await _take(response, fetch, sink, host_label(url))
                url = _next(url, response.headers.get("location", ""))
            finally:
                await response.aclose()
    except (RefusedAddressError, httpx.InvalidURL) as refusal:
        text = f"the answer points at {host_label(url)}, from where nothing is downloaded: {refusal}"
        return Failure(FailureKind.BAD_REPLY, cut(text), Billing.NOT_BILLED)
    text = f"{host_label(url)} redirected more than {MOST_REDIRECTS} times"
    return Failure(FailureKind.BAD_REPLY, cut(text), Billing.NOT_BILLED)


def _request(url: httpx.URL, agent: str) -> httpx.Request:
    """Build the request: nothing in it is known of the provider or its key."""
    fields = {
        "Host": url.netloc.decode("ascii"),
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "User-Agent": agent,
    }
    return httpx.Request("GET", url.copy_with(fragment=None), headers=fields, stream=Outgoing(b""))


def _next(url: str, location: str) -> str:
    from batchrunner.transport.addresses import RefusedAddressError

    if not location or len(location) > 16 * 1024:
        raise RefusedAddressError("it is a redirect to nowhere")
    to = httpx.URL(url).join(location)
    if httpx.URL(url).scheme == "https" and to.scheme != "https":
        raise RefusedAddressError("it redirects away from https://")
    return str(to)


async def _take(response: httpx.Response, fetch: Fetch, sink: Sink, host: str) -> Fetched | Failure:
    status, headers = response.status_code, response.headers
    if status != 200:
        kind = _KINDS.get(status, FailureKind.SERVER_ERROR if status >= 500 else FailureKind.BAD_REPLY)
        return Failure(kind, cut(f"{host} answered {status} to the download"), Billing.NOT_BILLED, status)
    if headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        text = f"{host} sent the file compressed, which it was asked not to"
        return Failure(FailureKind.BAD_REPLY, text, Billing.NOT_BILLED, status)
    size, length = 0, headers.get("content-length", "")
    if not (length.isdigit() and int(length[:20]) > fetch.most):
        async for chunk in cast(httpx.AsyncByteStream, response.stream):
            size += len(chunk)
            if size > fetch.most:
                break
            sink(chunk)
        else:
            return Fetched(headers.get("content-type", ""), size)
    text = f"{host} has a file of more than {fetch.most:,} bytes, which is the cap"
    return Failure(FailureKind.RESPONSE_TOO_LARGE, text, Billing.NOT_BILLED, status)
