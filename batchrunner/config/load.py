"""All sources put together: defaults < user file < project file < ``.env`` (keys only) < environment < flags."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from batchrunner.config.dotenv import DotEnv, Keys, read_dotenv
from batchrunner.config.files import read_file
from batchrunner.config.keys import key_for, key_source
from batchrunner.config.naming import closest, dotted, flag_of, variable_of
from batchrunner.config.options import (
    CONFIG_FILE,
    MODEL_OPTIONS,
    OPTIONS,
    PROVIDER_OPTIONS,
    Given,
    Layer,
)
from batchrunner.config.parsers import Place
from batchrunner.config.providers import BUILT_IN, build_providers, built_in, refuse_redirects
from batchrunner.config.settings import AUTO, ModelLimits, Origin, ProviderSettings, Settings
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.job import JobOptions
from batchrunner.endpoints.quirks import QUIRKS
from batchrunner.transport.secret import Secret, guard

PROJECT_FILE: Final = "batchrunner.toml"
USER_FILE: Final = "config.toml"

_JOB_OPTIONS: Final = ("endpoint", "model", "settings", "stream", "dedupe")
_BESIDES: Final = ("base_url", "config", "crashpoint")
"""What is no option of its own: a field of the chosen provider, the project file, and what tests crash by."""
_Values = dict[tuple[str, ...], Given]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Settings, and where they came from."""

    settings: Settings
    origins: Mapping[str, Origin]
    """By dotted name, such as ``rpm`` or ``providers.together.base_url``; for keys only that there is one."""
    environment: Keys
    """The keys that the environment holds."""
    dotenv: DotEnv
    """The keys that ``.env`` holds."""
    aim: Mapping[str, str] = field(default_factory=dict)
    """The flags that said where things are, paths in full: a command to go on with needs them again."""
    notes: tuple[str, ...] = ()
    """What was left out and why, for people, to be shown once."""

    def key_for(self, provider: str) -> Secret | None:
        """Return a provider's key, None for a server without one; raises as ``keys.key_for``."""
        return key_for(
            self.settings.provider_named(provider), self.environment, self.dotenv, file=self.key_file_for(provider)
        )

    def key_file_for(self, provider: str) -> Path | None:
        """Return the file that was named for a provider's key: ``--api-key-file`` is for the chosen one only."""
        return self.settings.api_key_file if provider == self.settings.provider else None


def load_here(flags: Mapping[str, object]) -> Loaded:
    """Load settings for this process: its environment, its working folder, its user. As ``load_settings``."""
    return load_settings(flags, os.environ, Path.cwd(), user_folder())


def user_folder() -> Path | None:
    """Return the folder of the user's ``config.toml`` by the platform's custom; None where the user has no home."""
    import platformdirs

    try:
        folder = platformdirs.user_config_path("batchrunner")
    except RuntimeError:
        return None
    # Older versions answer with a relative path instead, and the working folder's own file would pass for the user's.
    return folder if folder.is_absolute() else None


def load_settings(flags: Mapping[str, object], env: Mapping[str, str], cwd: Path, user_dir: Path | None) -> Loaded:
    """Read every source and return what holds. Depends on nothing but its arguments and the files that they name.

    ``flags`` are option names as in ``OPTIONS``, and ``base_url`` and ``config``; a value of None (False for a switch,
    0 for ``verbose``, an empty list) means that the flag was not given. ``user_dir`` holds ``config.toml``; None: no
    user file. Raises ConfigurationError that names the value, the reason, its source and a value that works.
    """
    refuse_unknown_flags(flags)
    home = env.get("HOME")
    here = Place(cwd, home)
    user_file = user_dir / USER_FILE if user_dir else None
    project_file = _project_file(flags, env, here, user_file)

    trusted = built_in()
    if user_file and _is_there(user_file):
        trusted += read_file(user_file, Layer.USER, home)
    project = read_file(project_file, Layer.PROJECT, home) if project_file else []
    refuse_redirects(trusted, project, user_file)

    values = {given.path: given for given in (*_defaults(here), *trusted, *project)}
    values |= {given.path: given for given in (*_from_environment(env, here), *_from_flags(flags, here))}
    _redirect_chosen(values, flags, env, here)
    settings = _settings(values, project_file)
    variables = {each.key_env for each in settings.providers.values() if each.key_env}
    dotenv, notes = read_dotenv(cwd, variables)
    environment = Keys({name: env[name] for name in variables if name in env})
    for key in (*environment.values(), *dotenv.values()):
        guard(key)
    return Loaded(
        settings=settings,
        origins=_origins(values, settings, environment, dotenv),
        environment=environment,
        dotenv=dotenv,
        aim=_aim(flags, settings, project_file),
        notes=(*notes, *_unknown_variables(env)),
    )


def refuse_unknown_flags(flags: Iterable[str]) -> None:
    """Raise ConfigurationError for a name that is no option, with the one that was meant."""
    known = (*OPTIONS, *_BESIDES)
    for name in flags:
        if name not in known:
            likely = closest(name, known)
            raise ConfigurationError(
                f"there is no option {name!r}",
                hint=f"Did you mean {likely!r}?" if likely else f"Options: {', '.join(sorted(known))}.",
            )


def _project_file(
    flags: Mapping[str, object], env: Mapping[str, str], here: Place, user_file: Path | None
) -> Path | None:
    """Return the project file that is there. One that was asked for must be."""
    for raw, layer, source in (
        (flags.get("config"), Layer.FLAG, "flag --config"),
        (env.get(variable_of("config")) or None, Layer.ENVIRONMENT, f"environment {variable_of('config')}"),
    ):
        if raw is not None:
            named = Path(str(CONFIG_FILE.read(("config",), raw, layer, source, here).value))
            return None if user_file and named.resolve() == user_file.resolve() else named
    path = here.folder / PROJECT_FILE
    return path if _is_there(path) else None


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise ConfigurationError(
            f"{path} can't be read: {error.strerror or error}", hint="Check the permissions of its folder."
        ) from error


def _defaults(here: Place) -> Iterator[Given]:
    for name, option in OPTIONS.items():
        if option.default is None:
            yield Given((name,), None, Layer.DEFAULT, "default")
        elif name != "tags":
            yield option.read((name,), option.default, Layer.DEFAULT, "default", here)


def _from_environment(env: Mapping[str, str], here: Place) -> Iterator[Given]:
    for name, option in OPTIONS.items():
        variable = variable_of(name)
        if option.in_environment and env.get(variable):
            yield option.read((name,), env[variable], Layer.ENVIRONMENT, f"environment {variable}", here)
    for provider, known in BUILT_IN.items():
        if env.get(known.url_env):
            yield PROVIDER_OPTIONS["base_url"].read(
                ("providers", provider, "base_url"),
                env[known.url_env],
                Layer.ENVIRONMENT,
                f"environment {known.url_env}",
                here,
            )


def _from_flags(flags: Mapping[str, object], here: Place) -> Iterator[Given]:
    for name, option in OPTIONS.items():
        raw = flags.get(name)
        if raw is None or raw is False or raw in ([], ()) or (name == "verbose" and raw == 0):
            continue
        given = option.read((name,), raw, Layer.FLAG, f"flag --{flag_of(name)}", here)
        if name == "tags":
            yield from (given._replace(path=("tags", key), value=value) for key, value in _pairs(given))
        else:
            yield given


def _pairs(given: Given) -> tuple[tuple[str, str], ...]:
    return given.value if isinstance(given.value, tuple) else ()


def _redirect_chosen(values: _Values, flags: Mapping[str, object], env: Mapping[str, str], here: Place) -> None:
    """Apply ``--base-url`` (or its variable) to the provider that was chosen."""
    path = ("providers", str(values["provider",].value), "base_url")
    variable = variable_of("base_url")
    for raw, layer, source in (
        (env.get(variable) or None, Layer.ENVIRONMENT, f"environment {variable}"),
        (flags.get("base_url"), Layer.FLAG, "flag --base-url"),
    ):
        if raw is not None and path[:2] in values:
            values[path] = PROVIDER_OPTIONS["base_url"].read(path, raw, layer, source, here)


def _settings(values: _Values, project_file: Path | None) -> Settings:
    chosen: dict[str, Any] = {name: values[name,].value for name in OPTIONS if name != "tags"}
    job = {name: chosen.pop(name) for name in _JOB_OPTIONS}
    if chosen["limit"] is not None and chosen["sample"] is not None:
        raise ConfigurationError(
            "--limit takes the first rows and --sample takes random ones: they can't both be given",
            hint="Leave one of them out.",
        )
    insisted = {name: chosen[name] for name in MODEL_OPTIONS if values[name,].layer >= Layer.ENVIRONMENT}
    chosen |= {name: None for name in MODEL_OPTIONS if chosen[name] == AUTO}
    providers = build_providers(values, project_file)
    settings = Settings(
        **chosen,
        providers=providers,
        job=JobOptions(provider=chosen["provider"], stream_usage=_asks_usage(job, chosen, providers), **job),
        insisted=ModelLimits.given(insisted),
        tags=tuple(sorted((path[1], str(given.value)) for path, given in values.items() if path[0] == "tags")),
    )
    try:
        settings.provider_named(settings.provider)
    except ConfigurationError as error:
        source = values["provider",].source
        raise ConfigurationError(f"{error.message} (from {source})", hint=error.hint) from None
    return settings


def _asks_usage(job: Mapping[str, Any], chosen: Mapping[str, Any], providers: Mapping[str, ProviderSettings]) -> bool:
    """Whether streams of a job that is loaded now must ask for their usage."""
    provider = providers.get(chosen["provider"])
    return bool(job["stream"]) and (provider is None or QUIRKS[provider.quirks].stream_usage)


def _origins(values: _Values, settings: Settings, env: Mapping[str, str], dotenv: DotEnv) -> Mapping[str, Origin]:
    origins = {
        dotted(path): Origin(given.value, given.source)
        for path, given in values.items()
        if path[0] != "providers" or len(path) > 2
    }
    if settings.notify is not None:  # an address may be all that it takes to post there
        origins["notify"] = Origin("set", values["notify",].source)
    for provider in settings.providers.values():
        file = settings.api_key_file if provider.name == settings.provider else None
        if provider.key_env and (source := key_source(provider, env, dotenv, file=file)):
            origins[f"providers.{provider.name}.key"] = Origin("set", source)
    return MappingProxyType(origins)


def _aim(flags: Mapping[str, object], settings: Settings, project_file: Path | None) -> dict[str, str]:
    full = {"config": project_file and project_file.absolute(), "db": settings.db}
    aim = {name: full.get(name) or flags[name] for name in ("config", "db", "provider", "base_url") if flags.get(name)}
    return {name: str(value) for name, value in aim.items()}


def _unknown_variables(env: Mapping[str, str]) -> Iterator[str]:
    known = [*(name for name, option in OPTIONS.items() if option.in_environment), *_BESIDES]
    for variable in sorted(env):
        name = variable.removeprefix("BATCHRUNNER_").lower()
        if variable.startswith("BATCHRUNNER_") and variable_of(name) not in map(variable_of, known):
            likely = closest(name, known)
            yield f"{variable} means nothing to batchrunner" + (
                f"; did you mean {variable_of(likely)}?" if likely else ""
            )
