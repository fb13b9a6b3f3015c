"""Proxies that the environment names: which one a host is reached through, and what may be shown of it."""

from urllib.parse import urlsplit

from batchrunner.core.errors import ConfigurationError
from batchrunner.transport.hosts import host_label, is_loopback


def environment_proxy(base_url: str) -> str | None:
    """Return the proxy that the environment names for a base URL (``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``).

    It may hold a login: show it with ``proxy_label``. None for this machine. Raises ConfigurationError for a proxy that
    can't be used.
    """
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(base_url)
    if is_loopback(parts.hostname or "") or proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise ConfigurationError(
            "the proxy named by the environment is neither http:// nor https://",
            hint="change HTTPS_PROXY or ALL_PROXY, or go past the environment's proxies with --no-proxy",
        )
    return proxy


def proxy_label(base_url: str) -> str | None:
    """Return host and port of the proxy on the way to a base URL, without its login; None where there is none."""
    proxy = environment_proxy(base_url)
    return None if proxy is None else host_label(proxy)
