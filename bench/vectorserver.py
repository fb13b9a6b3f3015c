"""A provider of embeddings on raw asyncio, cheap enough never to be what a benchmark measures.

A vector depends on its text: three numbers are made of its hash, the rest is taken from a stock by another part of the
hash. So no two texts have the same vector (but by a chance of one in 2^60), and ``vector_of`` tells a check what each
one must be, to the last bit. Started by ``serve_vectors`` in a process of its own.
"""

import argparse
import asyncio
import base64
import functools
import hashlib
import json
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import msgspec
import rawserver
from measure import SERVER_CORE, ChildFailed, pinned, workshop
from server import Server

DIMENSIONS = 384
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
"""Only a name here: one of a model with as many dimensions."""
STOCK = 8192
"""Endings that vectors share: so many that no page of a Parquet file can be made smaller by them, as with real ones."""
_HEAD = 3
"""Numbers of a vector that are its own: 12 bytes, a round number of base64 characters."""


class Ends(NamedTuple):
    """All of a vector but its head, in each form."""

    raw: bytes
    base64: bytes
    json: bytes


class Embed(msgspec.Struct):
    """What is read of a call."""

    model: str
    input: list[str]
    encoding_format: str = "float"


def vector_of(text: str, dimensions: int) -> bytes:
    """Return the vector of a text: little-endian float32."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return _head(digest) + stock(dimensions)[int.from_bytes(digest[6:], "little") % STOCK].raw


@functools.cache
def stock(dimensions: int) -> list[Ends]:
    """Return the endings, of numbers like a model's with eight decimals; takes seconds."""
    dice, scale, ends = random.Random(dimensions), (3 / dimensions) ** 0.5, []
    for _ in range(STOCK):
        values = [round((2 * dice.random() - 1) * scale, 8) for _ in range(dimensions - _HEAD)]
        raw = struct.pack(f"<{len(values)}f", *values)
        ends.append(Ends(raw, base64.b64encode(raw), json.dumps(values, separators=(",", ":"))[1:].encode()))
    return ends


def _head(digest: bytes) -> bytes:
    return struct.pack("<3f", *_numbers(digest))


def _numbers(digest: bytes) -> list[float]:
    """Three numbers in [-0.5, 0.5) that float32 holds exactly."""
    return [number / 65536 - 0.5 for number in struct.unpack("<3H", digest[:6])]


def answer_to(body: bytes, dimensions: int) -> tuple[bytes, int]:
    """Return the JSON that answers a call, and how many texts it held."""
    call = msgspec.json.decode(body, type=Embed)
    ends, packed = stock(dimensions), call.encoding_format == "base64"
    items, tokens = [], 0
    for index, text in enumerate(call.input):
        said = text.encode()
        digest = hashlib.blake2b(said, digest_size=8).digest()
        end = ends[int.from_bytes(digest[6:], "little") % STOCK]
        tokens += len(said) // 4 + 1
        if packed:
            vector = b'"%b%b"' % (base64.b64encode(_head(digest)), end.base64)
        else:
            vector = b"[%b,%b" % (b",".join(b"%r" % number for number in _numbers(digest)), end.json)
        items.append(b'{"object":"embedding","index":%d,"embedding":%b}' % (index, vector))
    shape = b'{"object":"list","data":[%b],"model":%b,"usage":{"prompt_tokens":%d,"total_tokens":%d}}'
    return shape % (b",".join(items), json.dumps(call.model).encode(), tokens, tokens), len(items)


class Vectors(rawserver.Connection):
    """One kept-alive connection that embeds; GET /record also says how many texts came."""

    def __init__(self, record: "Record", dimensions: int, latency: float) -> None:
        super().__init__(record, b"", latency)
        self.texts, self.dimensions = record, dimensions

    def posted(self, body: bytes) -> None:
        """Embed at once, and answer when it is time."""
        self.texts.call()
        answer, texts = answer_to(body, self.dimensions)
        self.texts.texts += texts
        self.loop.call_later(self.latency, self._send, rawserver.response(answer))

    def _send(self, answer: bytes) -> None:
        self.texts.in_flight -= 1
        if not self.transport.is_closing():
            self.transport.write(answer)


class Record(rawserver.Record):
    """What came, texts counted apart from calls."""

    def reset(self) -> None:
        """Forget what was seen."""
        super().reset()
        self.texts = 0

    def shown(self) -> bytes:
        """Return the record as JSON."""
        return json.dumps(json.loads(super().shown()) | {"texts": self.texts}).encode()


@contextmanager
def serve_vectors(latency: float, dimensions: int = DIMENSIONS) -> Iterator[Server]:
    """Run the server on its core until the block ends."""
    with workshop() as folder:
        port_file = folder / "port"
        arguments = ["--dimensions", str(dimensions), "--latency", str(latency), "--port-file", str(port_file)]
        with (folder / "server.log").open("wb") as log:
            process = subprocess.Popen(
                pinned([SERVER_CORE], [sys.executable, __file__, *arguments]), cwd=folder, stdout=log, stderr=log
            )
        try:
            ends = time.monotonic() + 30
            while not port_file.exists() and time.monotonic() < ends and process.poll() is None:
                time.sleep(0.01)
            if not port_file.exists():
                raise ChildFailed(f"the server did not come up:\n{(folder / 'server.log').read_text()}")
            url = f"http://127.0.0.1:{port_file.read_text()}"
            yield Server(url, f"raw asyncio server, {dimensions} dimensions", process.pid)
        finally:
            process.kill()
            process.wait()


def seen(server: Server, *, reset: bool = False) -> dict[str, int]:
    """Return what a server has counted (``calls``, ``texts``, ``most`` at a time); ``reset`` begins anew after it."""
    with urlopen(f"{server.url}/record", timeout=10) as reply:
        record: dict[str, int] = json.load(reply)
    if reset:
        urlopen(f"{server.url}/reset", timeout=10).close()
    return record


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dimensions", type=int, default=DIMENSIONS)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    parser.add_argument("--port-file", type=Path, required=True)
    given = parser.parse_args()
    stock(given.dimensions)
    record = Record()
    asyncio.run(rawserver.serve(lambda: Vectors(record, given.dimensions, given.latency), given.port_file))


if __name__ == "__main__":
    main()
