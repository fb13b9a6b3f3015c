"""A provider that answers every call alike, but for the answer's id: nginx with its echo module, else raw asyncio.

The answer comes after a fixed time. Its ids differ as a provider's do: two requests must not get one answer.
It runs on a core of its own, and every benchmark prints how busy it was. By itself this file measures what the server
can do:

    python bench/server.py
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from measure import SERVER_CORE, ChildFailed, allow_connections, pinned, workshop
from report import header, table

ECHO_MODULE = "ngx_http_echo_module.so"
MODULE_FOLDERS = (
    "/usr/lib/nginx/modules",
    "/usr/lib64/nginx/modules",
    "/usr/share/nginx/modules",
    "/etc/nginx/modules",
)
TEXT = (
    "The customer reports that the invoice for March shows two charges for the same seat. The first belongs to the"
    " trial that was turned into a paid plan on the ninth, the second to the renewal on the fourteenth. Both periods"
    " overlap by five days, so the second charge should have been prorated. Category: billing. Urgency: medium, since"
    " the card was charged but the service is not interrupted. Suggested answer: apologise, confirm the refund of the"
    " overlapping five days, name the date on which it will reach the account, and explain that the next invoice will"
    " show a single line. No engineering ticket is needed, but the proration rule for trials that end early should be"
    " checked by the billing team before the next cycle. Confidence: 0.87, since both charges are on the same card."
)
ID = "gen" + "0" * 32
"""What stands in the place of an answer's id."""
ANSWER = json.dumps(
    {
        "id": ID,
        "object": "chat.completion",
        "created": 1763596800,
        "model": "meta-llama/Llama-3.3-70B-Instruct-Turbo",
        "prompt": [],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": TEXT, "tool_calls": []},
                "finish_reason": "stop",
                "logprobs": None,
                "seed": 15924764223251450000,
            }
        ],
        "usage": {
            "prompt_tokens": 146,
            "completion_tokens": 158,
            "total_tokens": 304,
            "cached_tokens": 0,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
        "warnings": [],
        "metadata": {"weight_version": "default"},
    },
    separators=(",", ":"),
)


class Server(NamedTuple):
    """A server that is up."""

    url: str
    """Its root, without /v1."""
    kind: str
    pid: int

    def cpu(self) -> float:
        """Return the CPU seconds that it has used so far (0 where there is no /proc)."""
        stat = Path(f"/proc/{self.pid}/stat")
        if not stat.exists():
            return 0.0
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serve(latency: float, *, recording: bool = False) -> Iterator[Server]:
    """Run a server that answers every POST after ``latency`` seconds; ``recording`` wants the one with /record."""
    allow_connections(8192)
    with workshop() as folder:
        modules = None if recording else echo_module()
        process, url, kind = _nginx(folder, modules, latency) if modules else _raw(folder, latency)
        try:
            _wait_until_it_listens(process, url, folder)
            yield Server(url, kind, process.pid)
        finally:
            process.kill()
            process.wait()


def echo_module() -> Path | None:
    """Return nginx's echo module where both are installed."""
    if not shutil.which("nginx"):
        return None
    found = [Path(folder, ECHO_MODULE) for folder in MODULE_FOLDERS if Path(folder, ECHO_MODULE).exists()]
    return found[0] if found else None


def _nginx(folder: Path, module: Path, latency: float) -> tuple[subprocess.Popen[bytes], str, str]:
    with socket.socket() as probe:  # nginx can't say which port it got, so it is told one that was free just now
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    answer = ANSWER.replace(ID, "gen$request_id")  # 32 hexadecimal digits at random
    # `return` sends a Content-Length, as providers do; echo alone would send chunks.
    wait = (
        f"echo_read_request_body; echo_sleep {latency:g}; echo_exec @answer;" if latency else f"return 200 '{answer}';"
    )
    config = folder / "nginx.conf"
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config.write_text(
        f"load_module {module}; daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        "events { worker_connections 8000; }\n"
        f"http {{ access_log off; {temporary}\n"
        "client_body_buffer_size 64k; client_max_body_size 64m; lingering_close off; tcp_nodelay on;\n"
        "keepalive_requests 1000000000; keepalive_timeout 3600s; default_type application/json;\n"
        f"server {{ listen 127.0.0.1:{port} backlog=4096; add_header x-request-id $request_id;\n"
        f"location / {{ {wait} }}\n"
        f"location @answer {{ return 200 '{answer}'; }} }} }}\n"
    )
    command = pinned([SERVER_CORE], ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)])
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    shown = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"nginx/(\S+)", shown)
    return process, f"http://127.0.0.1:{port}", f"nginx {found.group(1) if found else '?'} with echo"


def _raw(folder: Path, latency: float) -> tuple[subprocess.Popen[bytes], str, str]:
    body, port_file = folder / "answer.json", folder / "port"
    body.write_text(ANSWER)
    script = str(Path(__file__).with_name("rawserver.py"))
    arguments = ["--body", str(body), "--latency", str(latency), "--port-file", str(port_file)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            pinned([SERVER_CORE], [sys.executable, script, *arguments]), cwd=folder, stdout=log, stderr=log
        )
    ends = time.monotonic() + 10
    while not port_file.exists() and time.monotonic() < ends and process.poll() is None:
        time.sleep(0.01)
    return process, f"http://127.0.0.1:{port_file.read_text() if port_file.exists() else 0}", "raw asyncio server"


def _wait_until_it_listens(process: subprocess.Popen[bytes], url: str, folder: Path) -> None:
    ends = time.monotonic() + 10
    while time.monotonic() < ends and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    logs = "".join(log.read_text() for log in folder.glob("*.log"))
    raise ChildFailed(f"the server did not come up:\n{logs}")


# ------------------------------------------------------------------------------------------------- what it can do


class _Blast(asyncio.Protocol):
    """The cheapest client there is: writes the next request as soon as the whole answer is there."""

    def __init__(self, request: bytes, counts: list[int]) -> None:
        self.request, self.counts, self.seen, self.wanted = request, counts, b"", 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.seen += data
        if not self.wanted and (ends := self.seen.find(b"\r\n\r\n")) >= 0:
            self.wanted = ends + 4 + len(ANSWER)  # every answer of a server has the same length
        if self.wanted and len(self.seen) >= self.wanted:
            self.seen = self.seen[self.wanted :]
            self.counts[0] += 1
            self.transport.write(self.request)


async def blast(url: str, connections: int, seconds: float) -> float:
    """Return the calls per second that raw connections get from a server."""
    counts = [0]
    request = f"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Length: 600\r\n\r\n{'x' * 600}".encode()
    loop, port = asyncio.get_running_loop(), int(url.rpartition(":")[2])
    made = [
        await loop.create_connection(lambda: _Blast(request, counts), "127.0.0.1", port) for _ in range(connections)
    ]
    began, before = time.monotonic(), counts[0]
    await asyncio.sleep(seconds)
    rate = (counts[0] - before) / (time.monotonic() - began)
    for transport, _ in made:
        transport.abort()
    return rate


def main() -> None:
    """Print what the server answers per second, and how busy its core is with it."""
    parser = argparse.ArgumentParser(description="Measure what the benchmarks' server can do.")
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args()
    header("The server by itself")
    rows = []
    for recording in (False, True):
        for latency, connections in ((0.0, 64), (0.05, 256), (0.05, 2000), (1.0, 1000)):
            with serve(latency, recording=recording) as server:
                before = server.cpu()
                rate = asyncio.run(blast(server.url, connections, given.seconds))
                busy = (server.cpu() - before) / given.seconds
                limit = f"{connections / latency:,.0f}" if latency else "-"
                able = f"{rate / busy:,.0f}" if busy else "-"
                cells = [f"{latency * 1000:g} ms", connections, f"{rate:,.0f}", limit, f"{busy:.0%}", able]
                rows.append([server.kind, *cells])
    table(["server", "latency", "in flight", "calls/s", "limit", "server busy", "calls/s at 100 %"], rows)
    print("The client of this check is one Python process: it, not the server, ends most of these lines.")


if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # the check's own client stays off the server's core
    main()
