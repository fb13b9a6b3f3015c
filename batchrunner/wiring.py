"""Settings become objects: the only module that names concrete classes.

Those of the transport are imported when one is made: whoever only reads does not wait for an HTTP client.
"""

import getpass
import os
import random
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from batchrunner.attachments.folder import AttachmentFolder
from batchrunner.config import Loaded, Settings, fingerprint, limits_for
from batchrunner.core.assumed import AssumingBook
from batchrunner.core.attachments import Attachments, NoAttachments
from batchrunner.core.attempt import Failure
from batchrunner.core.clock import Clock, SystemClock
from batchrunner.core.gate import Gate
from batchrunner.core.http import HttpReply
from batchrunner.core.pauses import Patience
from batchrunner.core.permit import LaneLimits
from batchrunner.core.pricing import Price, PriceBook
from batchrunner.core.request import Lane
from batchrunner.core.retry import RetryPolicy
from batchrunner.core.version import program_version
from batchrunner.endpoints.quirks import QUIRKS
from batchrunner.endpoints.refusals import classify
from batchrunner.formats.pricefile import load_prices
from batchrunner.formats.tokenizer import LocalTokenizer
from batchrunner.runner.artifacts import Artifacts
from batchrunner.runner.command import CommandNotifier
from batchrunner.runner.judging import Wishes
from batchrunner.runner.notify import Notifier
from batchrunner.runner.offload import Offload
from batchrunner.runner.parts import Parts
from batchrunner.runner.spending import Money
from batchrunner.runner.storage import Storage
from batchrunner.store.base import RunnerInfo
from batchrunner.store.database import Care, SqliteStore, open_reader, open_store
from batchrunner.store.disk import Disk
from batchrunner.store.reader import SqliteReader
from batchrunner.transport.base import Transport
from batchrunner.transport.hosts import host_label
from batchrunner.transport.secret import Secret

if TYPE_CHECKING:
    from batchrunner.transport.send import HttpTransport


@contextmanager
def reading(db: Path) -> Iterator[SqliteReader]:
    """Open a database to read it, beside a live run if there is one. Raises DatabaseError where there is none."""
    reader = open_reader(db)
    try:
        yield reader
    finally:
        reader.close()


@contextmanager
def writing(db: Path, *, wait: bool = False, care: Care | None = None) -> Iterator[SqliteStore]:
    """Hold a database and open it to write, made or upgraded if need be.

    Raises DatabaseHeldError where another runner holds it, unless ``wait`` is set, which queues behind it; and
    DatabaseError for one that ``care`` does not let pass.
    """
    with open_store(db, wait=wait, care=care) as store:
        yield store


def care_of(settings: Settings) -> Care:
    """Return what a person decided about a database that can't be taken as it is."""
    return Care(
        timeout=settings.db_timeout,
        unsafe_fs=settings.unsafe_fs,
        accept_older=settings.accept_older,
        any_owner=settings.any_owner,
    )


def price_book(settings: Settings, own: Iterable[Price] = ()) -> PriceBook:
    """Return the built-in prices with the providers' above them, then the user's files, and ``own`` (those that were
    set in the database) on top.
    """
    of_providers = [each.prices for each in settings.providers.values() if each.prices is not None]
    book = load_prices((*of_providers, *settings.price_files)).with_more(own)
    return book if settings.assume_price is None else AssumingBook(book.prices, *settings.assume_price)


def most_out(settings: Settings, lane: Lane) -> int | None:
    """Return the output tokens of a call that sets no bound, at most: what was assumed, else the model's context."""
    if settings.assume_output is not None:
        return settings.assume_output
    return settings.provider_named(lane.provider).contexts.get(lane.model)


def attachments(settings: Settings) -> Attachments:
    """Return the local files that job lines may refer to. Raises ConfigurationError where there is no such folder."""
    if settings.attachments is None:
        return NoAttachments()
    own = [f"{settings.db}{end}" for end in ("", "-wal", "-shm")]
    return AttachmentFolder(settings.attachments, never=own)


def attachments_folder(settings: Settings) -> str | None:
    """Return where these files lie, without links: what two processes can compare."""
    return None if settings.attachments is None else str(settings.attachments.resolve())


def tokenizer(settings: Settings) -> LocalTokenizer | None:
    """Return what counts tokens; None: they are guessed. Raises ConfigurationError for a file that is no tokenizer."""
    return None if settings.tokenizer is None else LocalTokenizer(settings.tokenizer)


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
    return Access(keys={name: loaded.key_for(name) for name in providers})


def run_parts(  # noqa: PLR0913 - three of them are what tests hand in
    loaded: Loaded,
    keys: Access,
    store: SqliteStore,
    offload: Offload,
    *,
    concurrency: int,
    file_offload: Offload | None = None,
    clock: Clock | None = None,
    dice: Callable[[], float] | None = None,
    transport: Callable[[str], Transport] | None = None,
) -> Parts:
    """Put a run together. Clock, dice and transport are handed in by tests."""
    settings = loaded.settings
    return Parts(
        queue=store,
        offload=offload,
        storage=Storage(store.path, Disk(store.path)),
        artifacts=Artifacts(store.path),
        clock=clock or SystemClock(),
        dice=dice or random.SystemRandom().random,
        policy=RetryPolicy(max_tries=settings.max_tries),
        prices=price_book(settings, store.prices()),
        info=runner_info(),
        accounts=keys.accounts(settings),
        transport=transport or partial(make_transport, settings, keys, concurrency=concurrency),
        classifier=partial(make_classifier, settings),
        gate=partial(make_gate, settings, dice or random.SystemRandom().random),
        most_out=partial(most_out, settings),
        money=Money(max_cost=settings.max_cost, waits=settings.on_pause == "wait"),
        patience=patience_of(settings),
        wishes=Wishes(settings.repair, settings.raise_cap),
        notifier=make_notifier(settings),
        keep_partial=settings.keep_partial,
        attachments=attachments(settings),
        file_offload=file_offload,
    )


def patience_of(settings: Settings) -> Patience:
    """Return how a run meets pauses, and when it ends."""
    return Patience(
        on_pause=settings.on_pause,
        give_up_after=settings.give_up_after,
        until=settings.until,
        run_for=settings.run_for,
        row_timeout=settings.row_timeout,
        poll_for=settings.poll_for,
    )


def make_notifier(settings: Settings) -> Notifier | None:
    """Return what tells a person: an address that is posted to, a command, or nothing. Raises ConfigurationError."""
    wish = settings.notify
    if wish is None:
        return None
    if "://" in wish.split(" ", 1)[0]:
        from batchrunner.transport.webhook import WebhookNotifier

        return WebhookNotifier(wish)
    return CommandNotifier(wish, os.environ)


def runner_info() -> RunnerInfo:
    """Return who runs, for the runner's row."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    boot_id = boot.read_text().strip() if boot.exists() else ""
    return RunnerInfo(socket.gethostname(), os.getpid(), boot_id, _user(), program_version())


def make_transport(
    settings: Settings, keys: Access, provider: str, *, concurrency: int, clock: Clock | None = None
) -> "HttpTransport":
    """Return the transport to a provider's host, with its key."""
    from batchrunner.transport.open import open_transport

    chosen = settings.provider_named(provider)
    return open_transport(
        chosen.base_url,
        keys.keys[provider],
        connections=concurrency,
        ca_file=str(settings.ca_file) if settings.ca_file else None,
        trust_env=not settings.no_proxy,
        max_response=settings.max_response,
        clock=clock,
        idle=settings.idle_timeout,
    )


def allow_connections(number: int) -> None:
    """Make sure that so many calls may be in flight. Raises ConfigurationError where the system allows fewer files."""
    from batchrunner.transport.open import SPARE_FILES, allow_files

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
        learned=figures(learned),
    )


def figures(learned: bytes | None) -> dict[str, float]:
    """Return what is kept of a lane as figures; none where nothing is."""
    return msgspec.json.decode(learned, type=dict[str, float]) if learned else {}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
