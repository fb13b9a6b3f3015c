"""Providers: the built-in ones, those of the configuration files, and the rule that binds a key to its host."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from batchrunner.config.naming import dotted
from batchrunner.config.options import MODEL_OPTIONS, PACK_OPTIONS, Given, Layer
from batchrunner.config.settings import ModelLimits, ProviderSettings
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.packing import PackBounds
from batchrunner.transport.hosts import is_loopback


class BuiltIn(NamedTuple):
    """A provider that is known without any configuration; each is a dialect of its own."""

    base_url: str
    key_env: str
    url_env: str
    """The variable with which its own client library redirects it."""


BUILT_IN: Final[Mapping[str, BuiltIn]] = {
    "together": BuiltIn("https://api.together.xyz", "TOGETHER_API_KEY", "TOGETHER_BASE_URL"),
    "openai": BuiltIn("https://api.openai.com", "OPENAI_API_KEY", "OPENAI_BASE_URL"),
}


def built_in() -> list[Given]:
    """Return what holds before anybody says anything."""
    return [
        Given(("providers", name, *field), value, Layer.DEFAULT, "built in")
        for name, known in BUILT_IN.items()
        for field, value in (
            ((), None),
            (("base_url",), known.base_url),
            (("key_env",), known.key_env),
            (("quirks",), name),
        )
    ]


def refuse_redirects(trusted: Sequence[Given], project: Sequence[Given], user_file: Path | None) -> None:
    """Hold a project file to its own providers: it came with the job files, perhaps from somebody else.

    ``trusted`` is what we and the user's own file say. Raises ConfigurationError where the project file would move one
    of those providers to another host or variable, or would send the key of one of them to a host of its own.
    """
    names = {given.path[1] for given in trusted if given.path[0] == "providers"}
    keys = {given.value: given.path[1] for given in trusted if _is(given, "key_env") and given.value}
    where = str(user_file) if user_file else "the configuration file of your user"
    for given in project:
        if not _is(given, "base_url") and not _is(given, "key_env"):
            continue
        _, name, field = given.path
        if name in names:
            raise ConfigurationError(
                f"a project file can't set {dotted(given.path)}: whoever wrote it would decide where the key of {name}"
                f" goes (from {given.source})",
                hint=f"Set it in {where}{_other_ways(name, field)}, or give your server a name of its own.",
            )
        if given.value in keys:
            raise ConfigurationError(
                f"a project file can't send {given.value}, the key of {keys[given.value]}, to provider {name!r}"
                f" (from {given.source})",
                hint=f"Give {name!r} a variable of its own, or move [providers.{name}] to {where}.",
            )


def build_providers(
    values: Mapping[tuple[str, ...], Given], project_file: Path | None
) -> Mapping[str, ProviderSettings]:
    """Build every provider from the winning values. Raises ConfigurationError for one that is not complete."""
    names = dict.fromkeys(path[1] for path in values if path[0] == "providers")
    return MappingProxyType({name: _provider(name, values, project_file) for name in names})


def _is(given: Given, field: str) -> bool:
    return given.path[0] == "providers" and len(given.path) == 3 and given.path[2] == field


def _other_ways(name: str, field: str) -> str:
    if field != "base_url":
        return ""
    variable = f" or {BUILT_IN[name].url_env}=URL" if name in BUILT_IN else ""
    return f", or give --base-url URL{variable}"


def _provider(name: str, values: Mapping[tuple[str, ...], Given], project_file: Path | None) -> ProviderSettings:
    own: dict[str, Any] = {}
    models: dict[str, dict[str, Any]] = {}
    for path, given in values.items():
        if path[:2] == ("providers", name) and len(path) == 3:
            own[path[2]] = given.value
        elif path[:2] == ("providers", name) and len(path) == 5:
            models.setdefault(path[3], {})[path[4]] = given.value
    _refuse_incomplete(name, own, values["providers", name].source)
    return ProviderSettings(
        name=name,
        base_url=own["base_url"],
        key_env=own["key_env"],
        quirks=own.get("quirks", "generic"),
        limits=ModelLimits.given(_only(MODEL_OPTIONS, own)),
        models=MappingProxyType(
            {model: ModelLimits.given(_only(MODEL_OPTIONS, said)) for model, said in models.items()}
        ),
        packs=_packs(own),
        model_packs=MappingProxyType({model: _packs(said) for model, said in models.items()}),
        prices=own.get("prices"),
        deadline=own.get("deadline"),
        named_only_in=project_file if _is_hearsay(name, values) else None,
    )


def _only(names: Iterable[str], said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: said[name] for name in names if name in said}


def _packs(said: Mapping[str, Any]) -> PackBounds:
    return PackBounds(*map(said.get, PACK_OPTIONS))


def _refuse_incomplete(name: str, own: Mapping[str, object], source: str) -> None:
    wanted = {
        "base_url": 'base_url = "https://HOST"',
        "key_env": 'key_env = "NAME_OF_A_VARIABLE" (or "" for a server without a key)',
    }
    for field, line in wanted.items():
        if field not in own:
            raise ConfigurationError(
                f"provider {name!r} has no {field} (from {source})", hint=f"Add to [providers.{name}]: {line}"
            )


def _is_hearsay(name: str, values: Mapping[tuple[str, ...], Given]) -> bool:
    """Whether only a project file says that keys go to this host, and that host is not this machine."""
    base_url, chosen = values["providers", name, "base_url"], values["provider",]
    vouched = chosen.layer >= Layer.ENVIRONMENT and chosen.value == name
    return (
        base_url.layer is Layer.PROJECT
        and not vouched
        and not is_loopback(urlsplit(str(base_url.value)).hostname or "")
    )
