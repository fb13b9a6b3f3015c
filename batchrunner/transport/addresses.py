"""Where a download may go: an address that a stranger wrote must not reach what only this machine or network can.

A provider's answer names it, and whoever can bend an answer could point it at a router, a cloud's metadata service or a
neighbour's database (server-side request forgery). So the URL is looked at, and then the address that its name has.
"""

import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from batchrunner.transport.hosts import VISIBLE_ASCII, is_loopback

LONGEST_URL: Final = 16 * 1024
"""Characters; a signed URL has a few thousand."""
_TRANSLATED: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
"""Prefixes behind which a gateway reaches any IPv4 address (RFC 6052, RFC 8215)."""


class RefusedAddressError(ValueError):
    """An address that nothing is downloaded from. Its words do not repeat it: a signed URL is a secret."""


def check(url: str, *, loopback: bool) -> None:
    """Raise RefusedAddressError unless a URL is https:// to a name or public address, or leads to this machine and may.

    ``loopback`` allows this machine, over http:// too: where the provider itself is on it.
    """
    if len(url) > LONGEST_URL or not VISIBLE_ASCII.fullmatch(url) or "\\" in url:
        raise RefusedAddressError("it is no plain URL")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise RefusedAddressError("its host or port can't be read") from None
    if "@" in parts.netloc or not host or port == 0:
        raise RefusedAddressError("it names no host, or a user")
    local = is_loopback(host)
    if parts.scheme != "https" and not (parts.scheme == "http" and local and loopback):
        raise RefusedAddressError("it does not begin with https://")
    if local and not loopback:
        raise RefusedAddressError("it leads to this machine")
    if _is_literal(host) and not may_connect(host, loopback=loopback):
        raise RefusedAddressError("it leads into a private network")


def may_connect(address: str, *, loopback: bool) -> bool:
    """Whether an address is public, or is this machine's where ``loopback`` allows that."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif found.sixtofour is not None or found.teredo is not None or any(found in net for net in _TRANSLATED):
            return False
    if found.is_loopback:
        return loopback
    return found.is_global and not found.is_multicast


class PublicResolver(AbstractResolver):
    """Finds addresses by name, and leaves out those that nothing is downloaded from.

    What it returns is what is connected to, so a name that changes its address between two looks gains nothing.
    """

    def __init__(self, *, loopback: bool) -> None:
        self._loopback = loopback
        self._names = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name that may be connected to. Raises OSError where there is none."""
        found = await self._names.resolve(host, port, family)
        allowed = [each for each in found if may_connect(each["host"], loopback=self._loopback)]
        if not allowed:
            raise OSError(None, "its name leads into a private network")
        return allowed

    async def close(self) -> None:
        """Close the resolver behind it."""
        await self._names.close()


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
