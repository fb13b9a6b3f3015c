"""A small provider on raw asyncio: the answer after a fixed time, and a record of when calls came in.

Started by server.py in a process of its own; it parses just enough HTTP/1.1 for clients that send Content-Length.
"""

import argparse
import asyncio
import gc
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path

ID = b"gen" + b"0" * 32
"""What stands in the place of an answer's id in the body that this server is started with."""
COUNT = itertools.count(1)


class Record:
    """When calls came in, on the clock that all processes of this machine share (CLOCK_MONOTONIC)."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self.calls, self.first, self.in_flight, self.most = 0, None, 0, 0

    def call(self) -> None:
        """Count one call that has come in whole."""
        if self.first is None:
            self.first = time.monotonic()
        self.calls += 1
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)

    def shown(self) -> bytes:
        """Return the record as JSON."""
        shown = {"calls": self.calls, "first": self.first, "in_flight": self.in_flight, "most": self.most}
        return json.dumps(shown).encode()


class Connection(asyncio.Protocol):
    """One kept-alive connection. Every POST is answered alike but for the id; GET /record and /reset are ours."""

    def __init__(self, record: Record, answer: bytes, latency: float) -> None:
        self.record, self.answer, self.latency = record, answer, latency
        self.buffer = b""
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (head_ends := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:head_ends]
            length = _content_length(head)
            ends = head_ends + 4 + length
            if len(self.buffer) < ends:
                return
            body, self.buffer = self.buffer[head_ends + 4 : ends], self.buffer[ends:]
            self._called(head, body)

    def posted(self, body: bytes) -> None:
        """Answer a call after its latency, whatever its body says."""
        self.record.call()
        if self.latency:
            self.loop.call_later(self.latency, self._reply)
        else:
            self._reply()

    def _called(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"POST "):
            self.posted(body)
        else:
            shown = self.record.shown()
            if head.startswith(b"GET /reset"):
                self.record.reset()
            self.transport.write(response(shown))

    def _reply(self) -> None:
        self.record.in_flight -= 1
        if not self.transport.is_closing():
            self.transport.write(self.answer.replace(ID, b"gen%032d" % next(COUNT), 1))


def _content_length(head: bytes) -> int:
    at = head.lower().find(b"\r\ncontent-length:")
    if at < 0:
        return 0
    ends = head.find(b"\r\n", at + 2)
    return int(head[at + 17 : ends if ends > 0 else None])


def response(body: bytes) -> bytes:
    """Return the bytes of a 200 with this JSON body."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def serve(connection: Callable[[], asyncio.Protocol], port_file: Path | None, port: int = 0) -> None:
    """Serve on the loopback until the process is ended; the port, a free one for 0, goes to a file or to stdout."""
    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", port, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    if port_file is None:
        print(f"http://127.0.0.1:{port}/v1", flush=True)
    else:
        unfinished = port_file.with_suffix(".tmp")
        unfinished.write_text(str(port))
        unfinished.rename(port_file)
    gc.freeze()
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--body", type=Path, required=True, help="file with the JSON that answers every call")
    parser.add_argument("--latency", type=float, required=True, help="seconds")
    parser.add_argument("--port-file", type=Path, required=True)
    given = parser.parse_args()
    record, answer = Record(), response(given.body.read_bytes())
    asyncio.run(serve(lambda: Connection(record, answer, given.latency), given.port_file))
