"""A corpus through `batchrunner embed`, beside a bare loop with the same packs and the official SDKs' pattern.

One process each, on all cores, against one server that is pinned to one of them. batchrunner alone also loads the
corpus into its queue, commits every call and every vector to the disk, and writes the Parquet file. Rates count every
row of the corpus; batchrunner and the bare loop send each distinct text once, the SDKs' pattern knows no such thing.
Afterwards every vector of the Parquet file is compared with the server's, bit for bit, and the packs are counted there.
"""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

from corpus import distinct, write_corpus
from embedclients import BARE, CLIENTS
from measure import (
    CORES,
    MIB,
    SERVER_CORE,
    Child,
    ChildFailed,
    allow_connections,
    disk_bytes,
    has_verb,
    lines_in,
    net_rate,
    pinned,
    product,
    product_env,
    quickest,
    run,
    workshop,
)
from report import header, table, verdict, warn_of_others
from server import Server
from vectorserver import DIMENSIONS, MODEL, seen, serve_vectors
from whole_job import PRODUCT, Measured

PATIENCE = 1200.0
SERVERS = ("raw", "simulator")
COLUMNS = (
    "client",
    "texts",
    "texts/s whole",
    "texts/s net",
    "min-max",
    "CPU us/text",
    "peak MiB",
    "start s",
    "others",
)


class Asked(NamedTuple):
    """What is to be measured."""

    texts: int
    sdk_texts: int
    pack: int
    concurrency: int
    latency: float
    repeats: int
    model: str
    options: list[str]
    """Further options of `batchrunner embed`."""

    def texts_of(self, client: str) -> int:
        """Return how many texts a client gets."""
        return self.texts if client == PRODUCT or client in BARE else min(self.texts, self.sdk_texts)


class Kept(NamedTuple):
    """What batchrunner left on the disk, in bytes, and what the server saw of its calls."""

    database: int
    vectors: int
    calls: int
    sent: int


@contextmanager
def simulate(latency: float) -> Iterator[Server]:
    """Run `batchrunner simulate` on the server's core, told to give vectors of as many dimensions."""
    with workshop() as folder:
        options = ["--port", "0", "--latency", f"{latency * 1000:g}ms"]
        command = pinned([SERVER_CORE], product("simulate", *options))
        env = product_env("http://127.0.0.1:9/v1", folder)
        process = subprocess.Popen(
            command, env=env, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip().removesuffix("/v1")
            patch = json.dumps({"embedding_dimensions": DIMENSIONS}).encode()
            urlopen(Request(f"{url}/_sim/settings", data=patch), timeout=10).close()
            yield Server(url, f"{PRODUCT} simulate, {DIMENSIONS} dimensions", process.pid)
        finally:
            process.kill()
            process.wait()


def run_client(client: str, server: Server, texts: int, asked: Asked) -> Child:
    """Run one of the others over a corpus of this many texts. Raises ChildFailed where not all were embedded."""
    with workshop() as folder:
        source, output = write_corpus(folder / "corpus.jsonl", texts), folder / "vectors.jsonl"
        script = str(Path(__file__).with_name("embedclients.py"))
        options = ["--url", server.url, "--corpus", str(source), "--model", asked.model, "--output", str(output)]
        options += ["--pack", str(asked.pack), "--concurrency", str(asked.concurrency)]
        env = product_env(f"{server.url}/v1", folder)
        child = run([sys.executable, script, client, *options], env=env, cwd=folder, patience=PATIENCE, cores=CORES)
        if client not in BARE and lines_in(output) != texts:
            raise ChildFailed(f"{client} wrote {lines_in(output)} of {texts} vectors:\n{child.said}")
        return child


def run_product(server: Server, texts: int, asked: Asked, *, check: bool) -> tuple[Child, Kept]:
    """Run `batchrunner embed` over a corpus. Raises ChildFailed where a vector is missing or not the server's."""
    with workshop() as folder:
        source = write_corpus(folder / "corpus.jsonl", texts)
        command = ["embed", str(source), "-o", "vectors.parquet", "--model", asked.model, "--text", "text"]
        command += ["--id", "id", "--db", "q.db", "--yes", "--concurrency", str(asked.concurrency)]
        before = counted(server)
        env = product_env(f"{server.url}/v1", folder)
        child = run(product(*command, *asked.options), env=env, cwd=folder, patience=PATIENCE, cores=CORES)
        calls, sent = (now - then for now, then in zip(counted(server), before, strict=True))
        vectors = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
        if check:
            compare(folder, texts, server, asked.model)
        return child, Kept(disk_bytes(folder / "q.db"), vectors, calls, sent)


def counted(server: Server) -> tuple[int, int]:
    """Return the calls and the texts that a server has embedded."""
    if not _simulated(server):
        record = seen(server)
        return record["calls"], record["texts"]
    with urlopen(f"{server.url}/_sim/stats", timeout=10) as reply:
        stats: dict[str, int] = json.load(reply)
    return stats["billed"], stats["texts"]


def compare(folder: Path, texts: int, server: Server, model: str) -> None:
    """Raise ChildFailed unless the shards hold the corpus in its order, each row with its text's own vector.

    In a process of its own: the kernel counts a measured child's peak from what its parent held when it was forked.
    """
    script = str(Path(__file__).with_name("vectorcheck.py"))
    kind = "simulator" if _simulated(server) else "raw"
    command = [sys.executable, script, str(folder), "--texts", str(texts), "--model", model, "--server", kind]
    check = subprocess.run(command, capture_output=True, text=True, check=False)
    if check.returncode:
        raise ChildFailed(check.stdout + check.stderr)


def _simulated(server: Server) -> bool:
    return server.kind.startswith(PRODUCT)


def measure(server: Server, clients: Sequence[str], asked: Asked) -> tuple[dict[str, Measured], Kept | None]:
    """Measure the clients in turns; one that fails is named and left out."""
    measured: dict[str, Measured] = {}
    kept: Kept | None = None
    for client in clients:
        try:
            starts = [once(client, server, 5, asked)[0] for _ in range(3)]
        except ChildFailed as failure:
            print(f"  {client} does not run: {failure.shortly()}", flush=True)
            continue
        start = quickest(starts[1:])  # the first start compiles; it does not count
        measured[client] = Measured(asked.texts_of(client), [], start._replace(seconds=start.seconds - asked.latency))
    for turn in range(asked.repeats):
        for client in list(measured):
            before = server.cpu()
            try:
                child, found = once(client, server, measured[client].rows, asked, check=turn == 0)
                rate = net_rate(measured[client].rows, child, measured[client].start)
            except ChildFailed as failure:
                print(f"  {client} failed: {failure.shortly()}", flush=True)
                del measured[client]
                continue
            served = (server.cpu() - before) / child.seconds
            child = child._replace(others=max(0.0, child.others - served / len(CORES)))
            measured[client].runs.append(child)
            kept = found or kept
            busy = f"server {served:.0%} busy, others {child.others:.0%}"
            print(f"  {client}: {rate:,.0f} texts/s net, {child.seconds:.1f} s, {busy}", flush=True)
    return measured, kept


def once(client: str, server: Server, texts: int, asked: Asked, *, check: bool = False) -> tuple[Child, Kept | None]:
    """Run one client once."""
    if client == PRODUCT:
        return run_product(server, texts, asked, check=check)
    return run_client(client, server, texts, asked), None


def report(measured: dict[str, Measured], kept: Kept | None, asked: Asked) -> None:
    """Print the table and the figures against their targets."""
    rows = []
    for client, its in measured.items():
        rates = its.rates()
        figures = [f"{its.whole:,.0f}", f"{its.rate:,.0f}", f"{min(rates):,.0f}-{max(rates):,.0f}"]
        figures += [f"{its.cpu * 1000:.1f}", f"{its.rss:.0f}", f"{its.start.seconds:.2f}"]
        rows.append([client, f"{its.rows:,}", *figures, f"{max(run.others for run in its.runs):.0%}"])
    print()
    table(COLUMNS, rows)
    warn_of_others([run for its in measured.values() for run in its.runs])
    if PRODUCT in measured and kept is not None:
        _verdicts(measured, kept, asked)
    print(flush=True)


def _verdicts(measured: dict[str, Measured], kept: Kept, asked: Asked) -> None:
    ours = measured[PRODUCT]
    if "bare" in measured:
        verdict("texts/s against the bare loop", ours.rate / measured["bare"].rate, 0.5, unit=" x")
    sdks = {client: its for client, its in measured.items() if client != PRODUCT and client not in BARE}
    if sdks:
        best = max(sdks, key=lambda client: sdks[client].rate)
        note = f"{best}; by CPU {sdks[best].cpu / ours.cpu:.1f} x"
        verdict("texts/s against the best SDK pattern", ours.rate / sdks[best].rate, 4, unit=" x", note=note)
    verdict("peak memory", ours.rss, 300, at_most=True, unit=" MiB")
    fill = kept.sent / (kept.calls * asked.pack)
    verdict("packs are full to", fill * 100, 95, unit=" %", note=f"{kept.calls:,} calls")
    verdict("texts sent of each that is distinct", kept.sent / distinct(asked.texts), 1, at_most=True)
    database, vectors, paid = kept.database, kept.vectors, distinct(asked.texts)
    print(
        f"- on the disk: database {database / MIB:,.0f} MiB ({database / asked.texts:,.0f} bytes a text,"
        f" {database / paid:,.0f} a vector that was paid for), Parquet {vectors / MIB:,.0f} MiB"
        f" ({vectors / asked.texts:,.0f} bytes a text; its numbers alone are {DIMENSIONS * 4:,})"
    )
    print("- every row has its own text's vector, bit for bit as the server gave it, in the order of the corpus")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure a corpus through embed, a bare loop and the official SDKs.")
    parser.add_argument("--texts", type=int, default=1_000_000, help="a multiple of five")
    parser.add_argument("--sdk-texts", type=int, default=20_000, help="for the SDKs, which hold every vector in memory")
    parser.add_argument("--pack", type=int, default=100, help="texts of a call")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--clients", default=",".join((PRODUCT, *CLIENTS)), help="comma-separated; default: all")
    parser.add_argument("--server", choices=SERVERS, default="simulator")
    parser.add_argument("--embed-options", default="", help="further options of `batchrunner embed`, in one argument")
    given = parser.parse_args()
    allow_connections(1024)
    header("Embeddings")
    sizes = (given.texts, given.sdk_texts, given.pack, given.concurrency)
    asked = Asked(*sizes, given.latency, given.repeats, given.model, shlex.split(given.embed_options))
    clients = [client for client in given.clients.split(",") if client != PRODUCT or has_verb("embed")]
    serving = simulate(asked.latency) if given.server == "simulator" else serve_vectors(asked.latency)
    with serving as server:
        print(f"{given.concurrency} in flight, {given.latency * 1000:g} ms, packs of {given.pack}, {server.kind}:")
        measured, kept = measure(server, clients, asked)
        if measured:
            report(measured, kept, asked)


if __name__ == "__main__":
    main()
