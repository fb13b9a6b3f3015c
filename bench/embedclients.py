"""What `batchrunner embed` is compared with: one client, one corpus, packs of one size. Started by embeddings.py.

``bare`` is the floor: aiohttp, fixed workers, each distinct text once, vectors asked for as base64 and decoded, and
nothing is kept. ``bare-floats`` is the same with vectors as JSON numbers. The others are the official SDKs as their
guides show it: a client, a Semaphore, one task per pack, gather, and the vectors written to a file at the end.
"""

import argparse
import array
import asyncio
import base64
import hashlib
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from clients import sdk

CLIENTS = ("bare", "bare-floats", "together", "together-aiohttp", "openai", "openai-aiohttp")
BARE = frozenset({"bare", "bare-floats"})


class Line(msgspec.Struct):
    """One row of the corpus."""

    id: str
    text: str


class Packed(msgspec.Struct):
    """A vector as base64."""

    embedding: str


class Plain(msgspec.Struct):
    """A vector as numbers."""

    embedding: list[float]


class PackedAnswer(msgspec.Struct):
    """What is read of an answer."""

    data: list[Packed]


class PlainAnswer(msgspec.Struct):
    """The same with numbers."""

    data: list[Plain]


def lines(path: Path) -> Iterator[Line]:
    """Yield the rows of a corpus."""
    decoder = msgspec.json.Decoder(Line)
    with path.open("rb") as file:
        yield from map(decoder.decode, file)


def distinct(rows: Iterable[Line]) -> Iterator[str]:
    """Yield each text once, remembering 16 bytes of its hash."""
    known: set[bytes] = set()
    for row in rows:
        digest = hashlib.blake2b(row.text.encode(), digest_size=16).digest()
        if digest not in known:
            known.add(digest)
            yield row.text


def packs(things: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of ``size``, the last one perhaps shorter."""
    walk = iter(things)
    while pack := list(itertools.islice(walk, size)):
        yield pack


async def bare(url: str, corpus: Path, model: str, pack: int, concurrency: int, *, floats: bool) -> int:
    """Embed every distinct text over a fixed number of workers; keep nothing. Returns the calls that failed."""
    import aiohttp  # here, so that each client pays for its own imports only

    failed = 0
    form = "float" if floats else "base64"
    waiting = packs(distinct(lines(corpus)), pack)

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal failed
        for texts in waiting:
            body = msgspec.json.encode({"model": model, "input": texts, "encoding_format": form})
            async with session.post(f"{url}/v1/embeddings", data=body, headers=headers) as reply:
                answer = await reply.read()
                vectors = plain(answer) if floats else unpacked(answer)
                failed += reply.status != 200 or len(vectors) != len(texts)

    headers = {"Content-Type": "application/json", "Authorization": "Bearer bench-key"}
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session, asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work(session))
    return failed


def unpacked(answer: bytes) -> list[bytes]:
    """Return the float32 bytes of an answer's base64 texts."""
    return [base64.b64decode(item.embedding) for item in msgspec.json.decode(answer, type=PackedAnswer).data]


def plain(answer: bytes) -> list[bytes]:
    """Return the float32 bytes of an answer's numbers."""
    items = msgspec.json.decode(answer, type=PlainAnswer).data
    return [array.array("f", item.embedding).tobytes() for item in items]


async def gathered(client: Any, corpus: Path, model: str, pack: int, concurrency: int, output: Path) -> int:
    """Send every pack in a task of its own behind a Semaphore; write the vectors at the end."""
    semaphore = asyncio.Semaphore(concurrency)

    async def ask(rows: list[Line]) -> Any:
        async with semaphore:
            return await client.embeddings.create(model=model, input=[row.text for row in rows])

    rows = list(packs(lines(corpus), pack))
    async with client:
        answers = await asyncio.gather(*[ask(pack) for pack in rows], return_exceptions=True)
    failed = [answer for answer in answers if isinstance(answer, BaseException)]
    with output.open("w") as file:
        for pack_rows, answer in zip(rows, answers, strict=True):
            if not isinstance(answer, BaseException):
                for row, item in zip(pack_rows, answer.data, strict=True):
                    file.write(json.dumps({"id": row.id, "embedding": item.embedding}) + "\n")
    for error in failed[:1]:
        print(f"first failure: {error!r}", file=sys.stderr)
    return len(failed)


def main() -> None:
    """Run one client to its end; exit 1 where a call failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", choices=CLIENTS)
    parser.add_argument("--url", required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--pack", type=int, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    how = given.corpus, given.model, given.pack, given.concurrency
    if given.client in BARE:
        failed = asyncio.run(bare(given.url, *how, floats=given.client == "bare-floats"))
    else:
        failed = asyncio.run(gathered(sdk(given.client, given.url), *how, given.output))
    if failed:
        sys.exit(f"{failed} calls failed")


if __name__ == "__main__":
    main()
