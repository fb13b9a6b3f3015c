"""Puts a transport together: what ``wiring`` calls. aiohttp is imported when it is called, not before."""

import resource
import ssl

import httpx

from batchrunner.core.clock import Clock
from batchrunner.core.errors import ConfigurationError
from batchrunner.transport.hosts import is_loopback, normalise
from batchrunner.transport.live import IDLE_SECONDS
from batchrunner.transport.proxies import environment_proxy
from batchrunner.transport.secret import Secret
from batchrunner.transport.send import HttpTransport

SPARE_FILES = 64
"""Descriptors for the database, the logs, the terminal and what else is open."""


def open_transport(  # noqa: PLR0913 - what settings say of a connection
    base_url: str,
    key: Secret | None,
    *,
    connections: int,
    ca_file: str | None = None,
    trust_env: bool = False,
    max_response: int | None = None,
    clock: Clock | None = None,
    idle: float = IDLE_SECONDS,
) -> HttpTransport:
    """Return a transport for ``base_url``, to be entered with ``async with``; nothing is connected yet.

    ``connections`` is how many calls will be in flight: each has a connection of its own, for which this makes sure
    that the process may open enough files. Certificates are always verified, against the system's authorities and
    certifi's, and those in ``ca_file`` (PEM). Proxies of the environment are used only with ``trust_env``.
    ``max_response`` (bytes) stands above what a call allows its answer; ``idle`` are the seconds of silence that end a
    streamed answer. Raises ConfigurationError.
    """
    from batchrunner.transport.aiohttp_engine import AiohttpTransport

    base_url = normalise(base_url)
    allow_files(connections + SPARE_FILES)
    tls = tls_context(ca_file) if base_url.startswith("https:") else None
    engine = AiohttpTransport(tls=tls, proxy=environment_proxy(base_url) if trust_env else None)
    downloads = _download_engine(base_url, tls, trust_env=trust_env)
    return HttpTransport(engine, base_url, key, max_response=max_response, clock=clock, idle=idle, downloads=downloads)


def _download_engine(base_url: str, tls: ssl.SSLContext | None, *, trust_env: bool) -> httpx.AsyncBaseTransport:
    """Return the engine for what answers point at. Behind a proxy it is the proxy that finds the addresses."""
    from batchrunner.transport.addresses import PublicResolver
    from batchrunner.transport.aiohttp_engine import AiohttpTransport

    proxy = environment_proxy(base_url) if trust_env else None
    near = is_loopback(httpx.URL(base_url).host)
    return AiohttpTransport(tls=tls, proxy=proxy, resolver=None if proxy else lambda: PublicResolver(loopback=near))


def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Return a context that verifies names and certificates. Raises ConfigurationError if ``ca_file`` is unreadable."""
    context = httpx.create_ssl_context()
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:  # ssl.SSLError, for a file that holds no certificates, is one
            raise ConfigurationError(
                f"the certificates in {ca_file} can't be read: {error.strerror or error}",
                hint="give the authority's certificates as one PEM file",
            ) from error
    return context


def allow_files(needed: int) -> None:
    """Raise this process's limit on open files to ``needed`` if it is lower.

    Raises ConfigurationError when the system does not allow as many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigurationError(
            f"{needed} open files are needed, but this process may have {hard}",
            hint=f"lower the concurrency to {max(1, hard - SPARE_FILES)}, or raise the limit (ulimit -n)",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
