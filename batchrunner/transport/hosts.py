"""What a base URL may look like, and how paths are put behind it."""

import re
from ipaddress import ip_address
from typing import NoReturn
from urllib.parse import SplitResult, urlsplit

from batchrunner.core.errors import ConfigurationError

DEFAULT_PORTS = {"http": 80, "https": 443}
VISIBLE_ASCII = re.compile(r"[!-~]+")
HOST = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")
PREFIX = re.compile(r"(/[A-Za-z0-9._~:@+=,-]+)*")
PATH = re.compile(r"(/[a-z0-9][a-z0-9_-]*)+")
TAIL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,255}")


def normalise(base_url: str) -> str:
    """Return the base URL as ``scheme://host[:port][/prefix]``, to which paths from ``/v1/`` or ``/v2/`` on are
    appended.

    A trailing ``/`` and a trailing ``/v1`` are dropped, since providers document their base both ways. Doing it twice
    changes nothing. Raises ConfigurationError for everything that could send the key or the prompts astray: user
    information, queries, fragments, other schemes, and ``http://`` to anything but this machine.
    """
    if not VISIBLE_ASCII.fullmatch(base_url) or "\\" in base_url:
        _refuse("it holds a space, a backslash, a control or a non-ASCII character")
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError:
        _refuse("its host or port can't be read")
    _check(parts, base_url)
    prefix = parts.path.rstrip("/")
    while prefix.endswith("/v1"):
        prefix = prefix[:-3].rstrip("/")
    if not PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/")):
        _refuse("its path is not a plain one")
    return f"{parts.scheme}://{_authority(parts.hostname or '', port, parts.scheme)}{prefix}"


def join(base_url: str, path: str, tail: str = "") -> str:
    """Put one of the registry's paths behind a normalised base URL, as text: nothing in a path can move the host.

    ``tail`` is one more segment: an id that a provider gave. Raises ConfigurationError for any other shape.
    """
    if not PATH.fullmatch(path) or (tail and not TAIL.fullmatch(tail)):
        raise ConfigurationError(
            f"{path[:80]!r} is not the path of an endpoint", hint="paths look like /v1/chat/completions"
        )
    return f"{base_url}{path}/{tail}" if tail else base_url + path


def host_label(url: str) -> str:
    """Return ``host[:port]`` of a URL, for people: without scheme, path, and any user name or password."""
    try:
        parts = urlsplit(url)
        return _authority(parts.hostname or "", parts.port, parts.scheme) or "an unnamed host"
    except ValueError:
        return "an unreadable host"


def is_loopback(host: str) -> bool:
    """Whether a host name or address surely stays on this machine: ``localhost``, ``127.0.0.0/8`` or ``::1``."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check(parts: SplitResult, base_url: str) -> None:
    if parts.scheme not in DEFAULT_PORTS:
        _refuse("it does not begin with https:// (or http:// for this machine)")
    if "@" in parts.netloc:
        _refuse("it holds a user name or password")
    if "?" in base_url or "#" in base_url:
        _refuse("it holds a query or a fragment")
    host = parts.hostname or ""
    if not HOST.fullmatch(host) and not parts.netloc.startswith("["):
        _refuse("it names no host")
    if parts.netloc.endswith(":") or parts.port == 0:
        _refuse("its port is missing")
    if parts.scheme == "http" and not is_loopback(host):
        _refuse("http:// would send the key and the prompts in the clear")


def _authority(host: str, port: int | None, scheme: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    return shown if port in (None, DEFAULT_PORTS.get(scheme)) else f"{shown}:{port}"


def _refuse(why: str) -> NoReturn:
    raise ConfigurationError(
        f"the base URL can't be used: {why}",
        hint="give it as https://host or https://host/v1; http:// is for localhost only",
    ) from None
