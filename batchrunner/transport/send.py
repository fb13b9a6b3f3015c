"""Sends calls: one host, one key, one deadline per call; what goes wrong comes back as a Failure."""

from collections.abc import AsyncIterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast
from urllib.parse import urlencode

import anyio
import httpx

from batchrunner.core.attempt import Failure
from batchrunner.core.clock import Clock, SystemClock
from batchrunner.core.http import Feed, Fetch, Fetched, HttpCall, HttpReply, Sink
from batchrunner.transport.deadlines import Deadlines
from batchrunner.transport.downloads import download
from batchrunner.transport.failures import deadline_failure, failure_of, interrupted_failure, refusal_of, too_large
from batchrunner.transport.headers import JSON, constant_headers, first_values, user_agent
from batchrunner.transport.hosts import host_label, is_loopback, join, normalise
from batchrunner.transport.live import IDLE_SECONDS, Live, Watch
from batchrunner.transport.secret import Secret
from batchrunner.transport.wire import Answered, Engine, Head, Outgoing, Post, Whole

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

CLOSE_SECONDS = 5.0
MOST_LISTED = 32 * 1024 * 1024
"""Bytes of an answer to a GET."""
SHORTEST_KEY = 16
"""Characters from which on a key is cut out of good answers too: a local server's placeholder may be a plain word."""


class HttpTransport:
    """The ``Transport`` of ``base.py`` over any httpx transport, which is called the engine here.

    Use it with ``async with``: the task that watches the deadlines lives in it. The engine gets one request per call in
    flight and keeps as many connections; nothing waits in line for one. Redirects are not followed, cookies not kept,
    bodies not decompressed. The key goes out in ``Authorization`` and is cut out of what echoes it: answers are kept.
    """

    def __init__(  # noqa: PLR0913 - what settings say of a connection
        self,
        engine: httpx.AsyncBaseTransport,
        base_url: str,
        key: Secret | None,
        *,
        max_response: int | None = None,
        clock: Clock | None = None,
        idle: float = IDLE_SECONDS,
        downloads: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """``downloads`` is the engine of downloads, which knows no key; None: the same engine, in one process."""
        self._engine = engine
        self._downloads = engine if downloads is None else downloads
        self._base_url = normalise(base_url)
        self._host = host_label(self._base_url)
        self._key = key
        self._max_response = max_response
        self._clock = clock or SystemClock()
        self._headers = constant_headers(self._host, key)
        self._direct = engine.direct() if isinstance(engine, Engine) else None
        self._targets: dict[str, tuple[httpx.URL, str, Head]] = {}
        self._deadlines = Deadlines()
        self._group: TaskGroup | None = None
        self._idle = idle
        self._interrupted = False
        self._drops = 0
        self._stale = False

    @property
    def host(self) -> str:
        """Host and port that the calls go to, for people."""
        return self._host

    def __repr__(self) -> str:
        return f"HttpTransport({self._base_url!r})"

    async def __aenter__(self) -> Self:
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        await self._group.start(self._deadlines.sweep)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        group, self._group = self._group, None
        try:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):  # closed properly even when the run is cancelled
                await self.aclose()
        finally:
            if group is not None:
                group.cancel_scope.cancel()
                await group.__aexit__(None, None, None)  # the block's own error needs no group around it

    async def aclose(self) -> None:
        """Close all connections."""
        await self._engine.aclose()
        await self._downloads.aclose()

    def interrupt(self) -> None:
        """End every call in flight now; each brings a Failure of kind ``interrupted``."""
        self._interrupted = True
        self._deadlines.end_all()

    def drop(self) -> None:
        """End every call in flight now, and let the idle connections go before the next one is sent."""
        self._drops += 1
        self._stale = True
        self._deadlines.end_all()

    async def send(self, call: HttpCall, feed: Feed | None = None) -> HttpReply | Failure:
        """Send a call and bring back a complete answer of any status but 3xx and 407, or a Failure.

        An answer of status 200 goes through ``feed`` where there is one, and comes back as the whole that it makes of
        it. Ends within the call's deadline, and earlier where a stream falls silent. Raises nothing but cancellation,
        and RuntimeError or ConfigurationError where it is used wrongly.
        """
        if self._direct is None or not call.body:
            body = Outgoing(call.body)
            return await self._call(self._request(call, body), body, call.deadline, self._cap(call), feed)
        target, url, head = self._target(call.path)
        if call.content_type != JSON:
            head = Head(target, self._headers_for(call).raw)
        post = Post(url, head, call.client_request_id, call.body)
        return await self._call(post, post, call.deadline, self._cap(call), feed)

    def _cap(self, call: HttpCall) -> int:
        return self._max_response or call.max_response

    async def fetch(self, fetch: Fetch, sink: Sink) -> Fetched | Failure:
        """Download a file, by an engine of its own: nothing that goes there has seen the key.

        Ends within its deadline. Raises cancellation, and what the sink raises.
        """
        host = host_label(fetch.url)
        if self._interrupted:
            return interrupted_failure(host, sent=False)
        drops, scope = self._drops, anyio.CancelScope()
        self._deadlines.watch(scope, anyio.current_time() + fetch.deadline)
        near = is_loopback(httpx.URL(self._base_url).host)
        try:
            with scope:
                return await download(self._downloads, fetch, sink, loopback=near, agent=user_agent())
        except httpx.RequestError as error:
            return failure_of(error, host)
        finally:
            self._deadlines.forget(scope)
        if self._was_dropped(drops):
            return interrupted_failure(host, sent=True)
        return deadline_failure(host, fetch.deadline, sent=True)

    def _was_dropped(self, drops: int) -> bool:
        """Whether all that was in flight was ended since there were so many drops."""
        return self._interrupted or self._drops != drops

    async def get(
        self, path: str, query: Mapping[str, str] | None = None, *, deadline: float, max_response: int = MOST_LISTED
    ) -> HttpReply | Failure:
        """GET a path that costs nothing; otherwise as ``send``. Whatever ``query`` holds, it stays one."""
        body = Outgoing(b"")
        url = self._target(path)[0]
        if query:
            url = url.copy_with(query=urlencode(query).encode("ascii"))
        request = httpx.Request("GET", url, headers=self._headers, stream=body)
        return await self._call(request, body, deadline, max_response)

    async def _call(
        self,
        request: httpx.Request | Post,
        body: Outgoing,
        deadline: float,
        max_response: int,
        feed: Feed | None = None,
    ) -> HttpReply | Failure:
        if self._interrupted:
            return interrupted_failure(self._host, sent=False)
        drops, scope = self._drops, anyio.CancelScope()
        live = None
        if feed is None:
            self._deadlines.watch(scope, anyio.current_time() + deadline)
        else:
            watch = Watch(self._deadlines, scope, deadline, self._idle)
            live = Live(feed, watch, self._clock, host=self._host, redact=self._body_without_key, most=max_response)
        try:
            with scope:
                if self._stale:
                    self._stale = False
                    await self._engine.aclose()
                return await self._exchange(request, max_response, live)
        except httpx.RequestError as error:
            failure = failure_of(error, self._host)
            failure = failure._replace(message=self._without_key(failure.message))
            return failure if live is None else live.broken(failure)
        finally:
            self._deadlines.forget(scope)
        failure = self._cut_off(deadline, live, sent=body.sent, dropped=self._drops != drops)
        return failure if live is None else live.broken(failure)

    def _cut_off(self, deadline: float, live: Live | None, *, sent: bool, dropped: bool) -> Failure:
        if self._interrupted or dropped:
            return interrupted_failure(self._host, sent=sent)
        if live is not None and sent and (silent := live.silent()) is not None:
            return silent
        return deadline_failure(self._host, deadline, sent=sent)

    async def _exchange(
        self, request: httpx.Request | Post, max_response: int, live: Live | None
    ) -> HttpReply | Failure:
        started = self._clock.monotonic()
        status, fields, stream, parsed = await self._answer(request)
        ttfb = self._clock.monotonic() - started
        headers = self._headers_of(fields, parsed)
        try:
            refusal = refusal_of(status, headers, self._host, max_response)
            if refusal is not None:
                return refusal
            if live is not None and status == 200:
                live.head = headers, ttfb
                return await live.follow(stream)
            body = _within(stream, max_response) if isinstance(stream, Whole) else await _read(stream, max_response)
        finally:
            if not isinstance(stream, Whole):  # which holds nothing
                await stream.aclose()
        if body is None:
            return too_large(self._host, status, max_response)
        return HttpReply(status, headers, self._body_without_key(status, body), self._clock.now(), ttfb)

    async def _answer(self, request: httpx.Request | Post) -> Answered:
        if isinstance(request, Post):
            assert self._direct is not None  # noqa: S101 - for the type checker: only then are there Posts
            return await self._direct.post(request)
        response = await self._engine.handle_async_request(request)
        return Answered(response.status_code, response.headers.raw, cast(httpx.AsyncByteStream, response.stream))

    def _request(self, call: HttpCall, body: Outgoing) -> httpx.Request:
        """Build a call's request; not in ``send``, in whose frame an error could show the fields, and so the key."""
        fields = [*self._headers_for(call).raw, (b"X-Client-Request-Id", call.client_request_id.encode("ascii"))]
        if call.method != "POST":
            url = httpx.URL(join(self._base_url, call.path, call.tail))  # not kept: there is one for every job
            return httpx.Request(call.method, url, headers=fields, stream=body)
        fields.append((b"Content-Length", b"%d" % len(call.body)))
        return httpx.Request("POST", self._target(call.path)[0], headers=fields, stream=body)

    def _headers_for(self, call: HttpCall) -> httpx.Headers:
        if call.content_type == JSON:
            return self._headers
        headers = self._headers.copy()
        headers["Content-Type"] = call.content_type
        return headers

    def _target(self, path: str) -> tuple[httpx.URL, str, Head]:
        """Return what is the same for all calls to a path: its URL, as text too, and their head."""
        target = self._targets.get(path)
        if target is None:
            url = httpx.URL(join(self._base_url, path))
            target = self._targets[path] = url, str(url), Head(url, self._headers.raw)
        return target

    def _headers_of(self, fields: Sequence[tuple[bytes, bytes]], parsed: Mapping[str, str] | None) -> Mapping[str, str]:
        """Cut out a key that a gateway repeats, say as its own id of the request: ids are stored.

        What the engine parsed is taken as it is where it is plain, as it almost always is.
        """
        if parsed is not None:
            text = "\n".join(parsed.values())
            if text.isascii() and (self._key is None or self._key.reveal() not in text):
                return parsed
        return {name: self._without_key(value) for name, value in first_values(fields).items()}

    def _body_without_key(self, status: int, body: bytes) -> bytes:
        """Cut out a key that a provider repeats in what is kept of its answer."""
        if self._key is None:
            return body
        key = self._key.reveal().encode("ascii")
        return body.replace(key, b"***") if key in body and (status >= 400 or len(key) >= SHORTEST_KEY) else body

    def _without_key(self, text: str) -> str:
        return text if self._key is None else text.replace(self._key.reveal(), "***")


def _within(stream: Whole, max_response: int) -> bytes | None:
    return stream.data if len(stream.data) <= max_response else None


async def _read(stream: AsyncIterable[bytes], max_response: int) -> bytes | None:
    """Read a body to its end; None when it passes the cap, and then no more than a chunk over it is held."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in stream:
        chunks.append(chunk)
        size += len(chunk)
        if size > max_response:
            return None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
