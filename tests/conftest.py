"""What every test stands on: a clean environment, no network but loopback, dice that replay, time that jumps."""

import contextlib
import ipaddress
import itertools
import os
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import trio.testing

from tests.canary import CANARY_KEY

hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.register_profile("quick", deadline=None, max_examples=25)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let files with slow tests begin, those with the most first: what is short fills up the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture
def canary_key() -> str:
    """A key for the program under test; nothing that it writes may hold it."""
    return CANARY_KEY


# --------------------------------------------------------------------------------------------------------- surroundings

FOREIGN_PREFIXES = ("TOGETHER_", "OPENAI_", "BATCHRUNNER_", "XDG_")
FOREIGN_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Paths for a home each; pytest's own way looks through all that were made before to find a free number."""
    base = tmp_path_factory.mktemp("homes")
    return (base / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, homes: Iterator[Path]) -> None:
    """No key, option or configuration of the person who runs the tests reaches them. Children inherit it."""
    for name in list(os.environ):
        if name.upper().startswith(FOREIGN_PREFIXES) or name.upper() in FOREIGN_NAMES:
            monkeypatch.delenv(name)
    home = next(homes)
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for kind in ("CONFIG", "DATA", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(home / kind.lower()))


def is_loopback(host: Any) -> bool:
    """Whether ``host``, as socket functions take it, stays on this machine."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


def guarded(name: str, real: Callable[..., Any], host_of: Callable[..., Any]) -> Callable[..., Any]:
    """``real``, which fails the test when it is asked for another machine."""

    def guard(*args: Any, **kwargs: Any) -> Any:
        host = host_of(*args, **kwargs)
        if not is_loopback(host):
            # Not an OSError: the program would take that for a broken connection and go on.
            pytest.fail(f"tests stay on this machine, but {name} was asked for {host!r}")
        return real(*args, **kwargs)

    return guard


def _address_host(_socket: socket.socket, address: Any, *_: Any) -> Any:
    return address[0] if isinstance(address, tuple) else None  # anything else is a Unix socket's path


def _sendto_host(_socket: socket.socket, *args: Any) -> Any:
    return _address_host(_socket, args[-1])


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[None]:
    """In this process, any name look-up or connection that leaves the machine fails the test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, guarded(name, getattr(socket.socket, name), _address_host))
        patch.setattr(socket.socket, "sendto", guarded("sendto", socket.socket.sendto, _sendto_host))
        for name in ("getaddrinfo", "gethostbyname"):
            patch.setattr(socket, name, guarded(name, getattr(socket, name), lambda host, *_, **__: host))
        yield


# -------------------------------------------------------------------------------------------------------------- the key


@pytest.fixture(scope="session", autouse=True)
def no_key_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After the whole suite, no file that any test left holds the canary key: no database, log, export or trace.

    Only what a person puts it into may: ``.env``, where it belongs, and a settings file, which is refused for it.
    """
    yield
    everything = (path for path in tmp_path_factory.getbasetemp().rglob("*") if path.is_file())
    left = [path for path in everything if path.name not in (".env", "canary.py") and path.suffix != ".toml"]
    assert [path for path in left if not path.is_symlink() and CANARY_KEY.encode() in path.read_bytes()] == []


# --------------------------------------------------------------------------------------------------------- the database

_opened_beside_sqlite: list[str] = []


def _listen(event: str, args: tuple[Any, ...]) -> None:
    """Note when a database file is opened in a process in which SQLite has it open: closing that drops its locks."""
    if event == "open" and isinstance(args[0], str | os.PathLike):
        path = os.fsdecode(args[0])
        if path.endswith((".db", ".db-wal", ".db-shm")) and os.path.realpath(path) in _files_open_here():
            _opened_beside_sqlite.append(path)


def _files_open_here() -> set[str]:
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the listing's own descriptor is gone by now
            found.add(str(link.readlink()))
    return found


sys.addaudithook(_listen)


@pytest.fixture(autouse=True)
def nobody_opens_a_database_beside_sqlite() -> Iterator[None]:
    """D10: no test, and nothing of ours in it, opens a database's file that SQLite has open in this process."""
    _opened_beside_sqlite.clear()
    yield
    assert _opened_beside_sqlite == []


# --------------------------------------------------------------------------------------------------------- virtual time


@pytest.fixture
def virtual_time() -> tuple[str, dict[str, Any]]:
    """A fresh trio with a clock that jumps whenever everybody waits: a day's sleep takes no time.

    Ask for it (or say ``pytestmark = pytest.mark.usefixtures("virtual_time")``) and the async test runs under it.
    Threads are invisible to the clock: what hops to a thread in production runs inline here.
    """
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Async tests run on asyncio, as the program does, unless they ask for virtual time."""
    if "virtual_time" in request.fixturenames:
        return request.getfixturevalue("virtual_time")
    return "asyncio"
