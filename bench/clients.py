"""What batchrunner is compared with: one client, one file of bodies, one number of calls in flight.

``bare`` is the floor: aiohttp, fixed workers, a shared iterator, and nothing is kept. The others are the official SDKs
used the way their own guides and cookbooks do it: a client, a Semaphore, one task per row, gather, and the answers
written to a file at the end. Started by whole_job.py, each in a process of its own.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CLIENTS = ("bare", "together", "together-aiohttp", "openai", "openai-aiohttp")


async def bare(url: str, bodies: Iterator[bytes], concurrency: int) -> int:
    """Send every body over a fixed number of workers; keep nothing. Returns the calls that failed."""
    import aiohttp  # here, so that each client pays for its own imports only

    failed = 0

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal failed
        for body in bodies:
            async with session.post(f"{url}/v1/chat/completions", data=body, headers=headers) as reply:
                await reply.read()
                failed += reply.status != 200

    headers = {"Content-Type": "application/json", "Authorization": "Bearer bench-key"}
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session, asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work(session))
    return failed


def sdk(name: str, url: str) -> Any:
    """Return an SDK's asynchronous client with its defaults, or with its own aiohttp engine."""
    if name.startswith("together"):
        from together import AsyncTogether, DefaultAioHttpClient

        engine = {"http_client": DefaultAioHttpClient()} if name.endswith("aiohttp") else {}
        return AsyncTogether(api_key="bench-key", base_url=url, **engine)
    from openai import AsyncOpenAI
    from openai import DefaultAioHttpClient as OpenAiAioHttpClient

    engine = {"http_client": OpenAiAioHttpClient()} if name.endswith("aiohttp") else {}
    return AsyncOpenAI(api_key="bench-key", base_url=f"{url}/v1", **engine)


async def gathered(client: Any, bodies: Iterator[bytes], concurrency: int, output: Path) -> int:
    """Send every body in a task of its own behind a Semaphore; write the answers at the end."""
    semaphore = asyncio.Semaphore(concurrency)

    async def ask(body: dict[str, Any]) -> Any:
        async with semaphore:
            return await client.chat.completions.create(**body)

    async with client:
        tasks = [ask(json.loads(body)) for body in bodies]
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    good = [answer for answer in answers if not isinstance(answer, BaseException)]
    with output.open("w") as file:
        file.writelines(f"{answer.model_dump_json()}\n" for answer in good)
    for error in [answer for answer in answers if isinstance(answer, BaseException)][:1]:
        print(f"first failure: {error!r}", file=sys.stderr)
    return len(answers) - len(good)


def main() -> None:
    """Run one client to its end; exit 1 where a call failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", choices=CLIENTS)
    parser.add_argument("--url", required=True)
    parser.add_argument("--bodies", type=Path, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    with given.bodies.open("rb") as file:
        bodies = (line.rstrip(b"\n") for line in file)
        if given.client == "bare":
            failed = asyncio.run(bare(given.url, bodies, given.concurrency))
        else:
            failed = asyncio.run(gathered(sdk(given.client, given.url), bodies, given.concurrency, given.output))
    if failed:
        sys.exit(f"{failed} calls failed")


if __name__ == "__main__":
    main()
