"""Header fields: those that every call carries, and those that answers bring."""

from collections.abc import Sequence

import httpx

from batchrunner.core.version import UNKNOWN, program_version
from batchrunner.transport.secret import Secret

JSON = "application/json"


def constant_headers(host: str, key: Secret | None) -> httpx.Headers:
    """Return what every call to a host carries; ``Content-Type`` is that of nearly all."""
    headers = httpx.Headers(
        {
            "Host": host,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": JSON,
            "User-Agent": user_agent(),
        }
    )
    if key is not None:
        headers["Authorization"] = f"Bearer {key.reveal()}"
    return headers


def user_agent() -> str:
    """Return the program and its version."""
    found = program_version()
    return "batchrunner" if found == UNKNOWN else f"batchrunner/{found}"


def first_values(fields: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return lower-case names with their first values; bytes beyond ASCII are read as Latin-1 (RFC 9110 5.5)."""
    return {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in reversed(fields)}
