"""The paths that are served, and how they are told apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from batchrunner.simulator import neighbours, transcripts

ROUTES: Final[Mapping[str, tuple[str, str]]] = {
    "/chat/completions": ("POST", "chat"),
    "/completions": ("POST", "completions"),
    "/embeddings": ("POST", "embeddings"),
    "/rerank": ("POST", "rerank"),
    "/images/generations": ("POST", "images"),
    **{path: ("POST", endpoint) for path, endpoint in transcripts.ROUTES.items()},
    "/audio/speech": ("POST", "speech"),
    "/v2/videos": ("POST", "videos"),
    **neighbours.ROUTES,
    "/models": ("GET", "models"),
    "/v2/supported-models": ("GET", "supported_models"),
}
"""Method and name by path, without the prefix `/v1`."""


def route_of(path: str) -> tuple[str, str]:
    """The path without query, and the same without its version prefix; a base may be given with `/v1` or without."""
    bare = path.partition("?")[0].rstrip("/") or "/"
    return bare, bare[3:] if bare.startswith("/v1/") else bare
