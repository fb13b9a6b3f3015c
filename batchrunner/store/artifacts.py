"""The files that answers brought, as ``check`` reads them: they are beside the database, and never it."""

import hashlib
from pathlib import Path

from batchrunner.core.continuation import Artifact


def damage(folder: Path, artifact: Artifact) -> str | None:
    """Return what is wrong with a file of the artifacts folder; None where its bytes are those that came."""
    try:
        with (folder / artifact.path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"file {artifact.path} of the artifacts folder can't be read: {error.strerror}"
    return None if digest == artifact.sha256 else f"file {artifact.path} of the artifacts folder is damaged"
