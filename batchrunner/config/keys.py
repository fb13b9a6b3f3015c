"""Keys: found by the name of their variable, checked before use, bound to their host, never shown."""

import hashlib
import os
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from batchrunner.config.dotenv import DotEnv
from batchrunner.config.providers import BUILT_IN
from batchrunner.config.settings import ProviderSettings
from batchrunner.core.errors import ConfigurationError
from batchrunner.transport.hosts import host_label
from batchrunner.transport.secret import Secret

_SALT: Final = "batchrunner account label"
_LARGEST_FILE: Final = 64 << 10
_QUOTES: Final = "'\"`\u2018\u2019\u201c\u201d"


def key_for(
    provider: ProviderSettings, env: Mapping[str, str], dotenv: DotEnv, *, file: Path | None = None
) -> Secret | None:
    """Return the provider's key: that of ``file``, else the environment's, else that of ``.env``.

    None for a server without a key.

    Raises ConfigurationError (exit code 2) that names the variable and what to do, and never holds the key: where it is
    missing, where it can't be a key, and where nothing but a project file says that it should go to this host.
    """
    name = provider.key_env
    if not name:
        return None
    source = key_source(provider, env, dotenv, file=file)
    if source is None:
        raise ConfigurationError(
            f"no key for provider {provider.name!r}: {name} is not set{_other_key(provider, env)}",
            hint=f"export {name}=..., or put {name}=... into .env in the working folder, or --api-key-file PATH. "
            "No flag takes a key.",
        )
    _refuse_hearsay(provider, dotenv, in_environment=name in env or file is not None)
    value = read_key_file(file) if file is not None else env[name] if name in env else dotenv[name]
    if flaw := flaw_of(value):
        what, place = (name, name) if file is None else ("the key", str(file))
        raise ConfigurationError(
            f"{what} {flaw} (from {source})", hint=f"Let {place} hold the bare key, nothing around it."
        )
    return Secret(value)


def key_source(
    provider: ProviderSettings, env: Mapping[str, str], dotenv: DotEnv, *, file: Path | None = None
) -> str | None:
    """Say where the provider's key is found, without looking at it; None: nowhere."""
    if file is not None:
        return f"file {file}"
    if provider.key_env in env:
        return f"environment {provider.key_env}"
    return f"file {dotenv.path}" if provider.key_env in dotenv else None


def read_key_file(path: Path) -> str:
    """Return what a key file holds, without the line end at its end.

    A regular file must belong to this user or to the administrator, and nobody else may read it; a pipe, such as a
    shell's ``<(pass show key)``, is as private as its maker. Raises ConfigurationError, which holds nothing of it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
        with os.fdopen(descriptor, "rb") as file:
            _refuse_shared(path, os.fstat(descriptor))
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigurationError(
            f"the key file {path} can't be read: {error.strerror}", hint="give the path of a file that holds the key"
        ) from error
    if len(content) > _LARGEST_FILE:
        raise ConfigurationError(f"{path} is too large to be a key", hint="give a file that holds nothing but the key")
    return content.decode("latin-1").removesuffix("\n").removesuffix("\r")


def _refuse_shared(path: Path, found: os.stat_result) -> None:
    if stat.S_ISFIFO(found.st_mode):
        return
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(f"the key file {path} is not a file", hint="give the path of a file")
    if found.st_uid not in (0, os.geteuid()):
        raise ConfigurationError(
            f"the key file {path} belongs to another user, who could change it", hint="copy it into a file of your own"
        )
    if found.st_mode & 0o077:
        raise ConfigurationError(
            f"other users may read the key file {path} (mode {stat.S_IMODE(found.st_mode):04o})",
            hint=f"chmod 600 {shlex.quote(str(path))}",
        )


def flaw_of(key: str) -> str | None:
    """Say why this can't be a key, in words that hold nothing of it; None: it could be one.

    A line break in a header's value would let a key smuggle headers in; the other flaws are what copying a key leaves
    around it, and would come back as a refusal of the key.
    """
    bare = key.strip()
    flaws = (
        (not key, "is empty"),
        (not bare, "holds nothing but white space"),
        ("\n" in key or "\r" in key, "holds a line break"),
        (bare[:1] in _QUOTES or bare[-1:] in _QUOTES, "has quotes around it"),
        (key != bare, "has white space around it"),
        (bare.lower().startswith("bearer "), "begins with 'Bearer ', which is added when it is sent"),
        (any(char.isspace() for char in key), "holds white space"),
        (not (key.isascii() and key.isprintable()), "holds characters that can't be part of a key"),
    )
    return next((words for is_so, words in flaws if is_so), None)


def fingerprint(key: Secret, salt: str = _SALT) -> str:
    """Return 8 hex digits that tell keys apart and give none away: the beginning of SHA-256 over salt and key."""
    return hashlib.sha256(f"{salt}:{key.reveal()}".encode()).hexdigest()[:8]


def _refuse_hearsay(provider: ProviderSettings, dotenv: DotEnv, *, in_environment: bool) -> None:
    file = provider.named_only_in
    if file is None or (not in_environment and dotenv.path.parent == file.parent):
        return  # a key that lies beside the project file may go where that file says
    raise ConfigurationError(
        f"{provider.key_env} was not sent: nothing but {file} says that it belongs to {host_label(provider.base_url)}",
        hint=f"If you trust it: --provider {provider.name} (or BATCHRUNNER_PROVIDER={provider.name}), or move "
        f"[providers.{provider.name}] to the configuration file of your user.",
    )


def _other_key(provider: ProviderSettings, env: Mapping[str, str]) -> str:
    """Point at the key that is there, for whoever forgot to name the provider."""
    for name, known in BUILT_IN.items():
        if name != provider.name and env.get(known.key_env):
            return f" ({known.key_env} is: did you mean --provider {name}?)"
    return ""
