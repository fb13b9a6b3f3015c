"""Settings become objects: the only module that names concrete classes."""

import getpass
import os
import random
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from batchrunner.config import Loaded, Settings, fingerprint, key_for, limits_for
from batchrunner.core.attempt import Failure
from batchrunner.core.clock import Clock, SystemClock
from batchrunner.core.gate import Gate
from batchrunner.core.http import HttpReply
from batchrunner.core.permit import LaneLimits
from batchrunner.core.pricing import PriceBook
from batchrunner.core.request import Lane
from batchrunner.core.retry import RetryPolicy
from batchrunner.endpoints.quirks import QUIRKS
from batchrunner.endpoints.refusals import classify
from batchrunner.formats.pricefile import load_prices
from batchrunner.runner.offload import Offload
from batchrunner.runner.run import Parts
from batchrunner.store.base import RunnerInfo
from batchrunner.store.database import SqliteStore, open_reader, open_store
from batchrunner.store.reader import SqliteReader
from batchrunner.transport.base import Transport
from batchrunner.transport.hosts import host_label
from batchrunner.transport.open import SPARE_FILES, allow_files, open_transport
from batchrunner.transport.secret import Secret


def program_version() -> str:
    """Return the version of this program."""
    try:
        return version("batchrunner")
    except PackageNotFoundError:
        return "unknown"


@contextmanager
def reading(db: Path) -> Iterator[SqliteReader]:
    """Open a database to read it, beside a live run if there is one. Raises DatabaseError where there is none."""
    reader = open_reader(db)
    try:
        yield reader
    finally:
        reader.close()


@contextmanager
def writing(db: Path, *, wait: bool = False) -> Iterator[SqliteStore]:
    """Hold a database and open it to write, made or upgraded if need be.

    Raises DatabaseHeldError where another runner holds it, unless ``wait`` is set, which queues behind it.
    """
    with open_store(db, wait=wait) as store:
        yield store


def price_book(settings: Settings) -> PriceBook:
    """Return the built-in prices with the user's on top."""
    return load_prices(settings.price_files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The keys of the providers that a run needs, by provider."""

    keys: Mapping[str, Secret | None]

    def accounts(self, settings: Settings) -> dict[str, str]:
        """Return what the bill is reconciled by: a key's fingerprint and the host it goes to."""
        return {
            name: f"{fingerprint(key) if key else 'no-key'}@{host_label(settings.provider_named(name).base_url)}"
            for name, key in self.keys.items()
        }


def access(loaded: Loaded, providers: Sequence[str]) -> Access:
    """Find the providers' keys. Raises ConfigurationError that names the variable of a missing one."""
    settings = loaded.settings
    return Access(keys={name: key_for(settings.provider_named(name), os.environ, loaded.dotenv) for name in providers})


def run_parts(  # noqa: PLR0913 - three of them are what tests hand in
    loaded: Loaded,
    keys: Access,
    store: SqliteStore,
    offload: Offload,
    *,
    concurrency: int,
    clock: Clock | None = None,
    dice: Callable[[], float] | None = None,
    transport: Callable[[str], Transport] | None = None,
) -> Parts:
    """Put a run together. Clock, dice and transport are handed in by tests."""
    settings = loaded.settings
    return Parts(
        queue=store,
        offload=offload,
        clock=clock or SystemClock(),
        dice=dice or random.SystemRandom().random,
        policy=RetryPolicy(max_tries=settings.max_tries),
        prices=price_book(settings),
        info=runner_info(),
        accounts=keys.accounts(settings),
        transport=transport or partial(make_transport, settings, keys, concurrency=concurrency),
        classifier=partial(make_classifier, settings),
        gate=partial(make_gate, settings, dice or random.SystemRandom().random),
    )


def runner_info() -> RunnerInfo:
    """Return who runs, for the runner's row."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    boot_id = boot.read_text().strip() if boot.exists() else ""
    return RunnerInfo(socket.gethostname(), os.getpid(), boot_id, _user(), program_version())


def make_transport(settings: Settings, keys: Access, provider: str, *, concurrency: int) -> Transport:
    """Return the transport to a provider's host, with its key."""
    chosen = settings.provider_named(provider)
    return open_transport(chosen.base_url, keys.keys[provider], connections=concurrency)


def allow_connections(number: int) -> None:
    """Make sure that so many calls may be in flight. Raises ConfigurationError where the system allows fewer files."""
    allow_files(number + SPARE_FILES)


def make_classifier(settings: Settings, provider: str) -> Callable[[HttpReply], Failure]:
    """Return the table that turns a provider's refusals into failures."""
    quirks = QUIRKS[settings.provider_named(provider).quirks]
    return lambda reply: classify(reply, quirks)


def make_gate(
    settings: Settings, dice: Callable[[], float], lane: Lane, learned: bytes | None, monotonic: float
) -> Gate:
    """Return a lane's gate, going on from what was learned of it."""
    limits = limits_for(settings, lane.provider, lane.model)
    return Gate(
        LaneLimits(
            concurrency=limits.concurrency,
            adaptive=limits.learned,
            rpm=limits.rpm or "auto",
            tpm=limits.tpm or "auto",
            reserve=settings.reserve,
        ),
        now=monotonic,
        dice=dice,
        learned=msgspec.json.decode(learned, type=dict[str, float]) if learned else None,
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
