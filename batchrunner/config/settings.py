"""Settings as values: what a run goes by once every source was read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from batchrunner.config.units import PICO
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.job import JobOptions
from batchrunner.core.packing import NOTHING_SAID, PackBounds
from batchrunner.core.pauses import OnPause

AUTO: Final = "auto"
"""What a limit is set to that is to be learned."""

DEFAULT_CONCURRENCY: Final = 32
"""Calls in flight in one lane at most where nobody says otherwise: as far as a learned concurrency may grow.

Calls in flight = calls per second x seconds per call. The smallest paid tier that Together published allows 600 chat
requests a minute, 10 a second, and an answer of a few hundred tokens takes about three seconds: 30 in flight use it up,
more would only collect 429s. Both providers ask clients to ramp up gently rather than to burst.
"""

Quirks = Literal["together", "openai", "generic"]
Reserve = Literal["learned", "upper"]
Progress = Literal["auto", "live", "plain", "json", "none"]
Color = Literal["auto", "always", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """Limits as somebody set them; None: not set here, or to be learned."""

    concurrency: int | None = None
    """Calls in flight at most."""
    rpm: float | None = None
    """Requests per minute."""
    tpm: float | None = None
    """Tokens per minute, input and output."""
    auto: frozenset[str] = frozenset()
    """Names of the limits that were set to ``auto`` here: they hide what more general places say."""

    @classmethod
    def given(cls, values: Mapping[str, Any]) -> "ModelLimits":
        """Return limits of these checked values, numbers or ``auto``."""
        auto = frozenset(name for name, value in values.items() if value == AUTO)
        return cls(**{name: value for name, value in values.items() if name not in auto}, auto=auto)


class LaneLimits(NamedTuple):
    """The limits of one lane, resolved. A rate of None: no limit of ours, only what is learned from the answers."""

    concurrency: int
    """Most calls in flight; where it is learned, as far as it may grow."""
    rpm: float | None
    tpm: float | None
    learned: bool = True
    """Whether the concurrency is learned: nobody fixed it, or it was set to ``auto``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """One named host, without its key."""

    name: str
    base_url: str
    """Normalised: scheme and host, no ``/v1`` at its end."""
    key_env: str
    """The variable that holds the key; empty for a server without one."""
    quirks: Quirks = "generic"
    """Whose dialect of the API it speaks: errors, limit headers, retry hints."""
    limits: ModelLimits = field(default_factory=ModelLimits)
    """What holds for every model that has no limits of its own."""
    models: Mapping[str, ModelLimits] = field(default_factory=dict)
    packs: PackBounds = NOTHING_SAID
    """What holds for embedding with every model, where it says nothing of its own."""
    model_packs: Mapping[str, PackBounds] = field(default_factory=dict)
    prices: Path | None = None
    """A price file for what it offers; ``price_files`` stand above it."""
    deadline: float | None = None
    """Seconds for a whole call; None: derived from its output bound."""
    named_only_in: Path | None = None
    """The project file that alone names this host; None where we, the user file, the environment or a flag do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that people can choose, resolved. Keys are never part of it."""

    db: Path
    provider: str
    """The provider of jobs that name none."""
    providers: Mapping[str, ProviderSettings]
    job: JobOptions
    """What flags change about the lines of a job that is loaded now."""
    db_timeout: float = 60.0
    """Seconds to wait for another program that holds the database."""
    unsafe_fs: bool = False
    """Work on a network file system all the same, with a slower journal."""
    accept_older: bool = False
    """Go on from a copy of the database that is older than its last run."""
    limit: int | None = None
    """Work on the first N rows only; the next run takes the rest."""
    sample: int | None = None
    """Work on N random rows only; never together with ``limit``."""
    concurrency: int | None = None
    rpm: float | None = None
    tpm: float | None = None
    insisted: ModelLimits = field(default_factory=ModelLimits)
    """Limits from flags and environment: they beat what files say of a provider or a model."""
    confirm_above: int = PICO
    """Pico-dollars of estimated cost above which a run asks first."""
    grace: float = 60.0
    """Seconds that calls in flight get to finish after the first Ctrl-C."""
    max_tries: int = 5
    """Failures that count against a row before it is given up."""
    repair: int = 0
    """How often a request is asked again whose answer does not have the form that it asked for."""
    raise_cap: float | None = None
    """By how much the output bound is multiplied, once, for an answer that was cut off; None: it stays as it is."""
    on_pause: OnPause | None = None
    """What a pause does to a run; None: outages and quotas are waited for, what a person has to act on ends it."""
    until: str | None = None
    """Local time (``06:30``) or ISO date-time at which a run ends."""
    run_for: float | None = None
    """Seconds that a run may take."""
    give_up_after: float | None = None
    """Seconds after which an outage, or a pause that is waited for, ends its part of the run."""
    row_timeout: float | None = None
    """Seconds over all attempts after which a row that keeps failing by itself is given up."""
    poll_for: float = 21_600.0
    """Seconds of waiting that are spent on a job of the provider, such as a video, before it is given up."""
    notify: str | None = None
    """A command, or an address on the web, that is told of every pause and of the end."""
    price_files: tuple[Path, ...] = ()
    """Price files besides the built-in book; a later one wins."""
    reserve: Reserve = "learned"
    """What a call takes from the token bucket before it is sent: the learned mean, or its upper bound."""
    max_response: int = 32 << 20
    """Bytes that an answer may have: beyond it, it is given up."""
    idle_timeout: float = 60.0
    """Seconds of silence in the middle of a streamed answer after which it is given up; before its first token, five
    times as many."""
    keep_partial: bool = False
    """Keep what had come of a streamed answer where its row fails for good."""
    ca_file: Path | None = None
    """Authorities (PEM) that are trusted beside the system's."""
    no_proxy: bool = False
    """Go past the proxies of the environment."""
    api_key_file: Path | None = None
    """The file that holds the key of ``provider``; it beats the variable."""
    attachments: Path | None = None
    """The folder whose files job lines may refer to as ``file:photos/1.jpg``; None: local files are off."""
    tokenizer: Path | None = None
    """The tokenizer.json by which input tokens are counted at load; None: they are guessed."""
    any_owner: bool = False
    """Write to a database that belongs to another user."""
    progress: Progress = "auto"
    color: Color = "auto"
    tags: tuple[tuple[str, str], ...] = ()
    """Sorted by key."""
    yes: bool = False
    no_input: bool = False
    debug: bool = False
    quiet: bool = False
    verbose: int = 0

    def provider_named(self, name: str) -> ProviderSettings:
        """Return a provider. Raises ConfigurationError that lists those there are."""
        if name in self.providers:
            return self.providers[name]
        raise ConfigurationError(
            f"there is no provider {name!r}; configured: {', '.join(sorted(self.providers))}",
            hint=f"Pick one with --provider, or describe it in the user's configuration file:\n{_example(name)}",
        )


class Origin(NamedTuple):
    """One value and where it came from."""

    value: object
    source: str
    """Such as ``environment BATCHRUNNER_RPM``, ``flag --rpm``, ``file ./batchrunner.toml:12`` or ``default``."""


def limits_for(settings: Settings, provider: str, model: str) -> LaneLimits:
    """Resolve the limits of a lane: flags and environment beat the model's, the provider's, then the top level's.

    A number fixes a limit; ``auto`` hides the numbers behind it. What nobody fixed is learned, a concurrency up to the
    default.
    Raises ConfigurationError for a provider that is not configured.
    """
    chosen = settings.provider_named(provider)
    top = ModelLimits(concurrency=settings.concurrency, rpm=settings.rpm, tpm=settings.tpm)
    order = (settings.insisted, chosen.models.get(model, ModelLimits()), chosen.limits, top)
    concurrency = _deciding(order, "concurrency").concurrency
    return LaneLimits(
        concurrency=DEFAULT_CONCURRENCY if concurrency is None else concurrency,
        rpm=_deciding(order, "rpm").rpm,
        tpm=_deciding(order, "tpm").tpm,
        learned=concurrency is None,
    )


def packs_for(settings: Settings, provider: str, model: str) -> PackBounds:
    """Return what files say of embedding with a model: what they say of it goes before what they say of its provider.

    Raises ConfigurationError for a provider that is not configured.
    """
    chosen = settings.provider_named(provider)
    return chosen.model_packs.get(model, NOTHING_SAID).before(chosen.packs)


def _deciding(order: Sequence[ModelLimits], name: str) -> ModelLimits:
    """Return the first that sets a limit, to a number or to ``auto``; one that sets none where nobody does."""
    speaks = (given for given in order if name in given.auto or getattr(given, name) is not None)
    return next(speaks, ModelLimits())


def _example(name: str) -> str:
    variable = "".join(char if char.isalnum() else "_" for char in name.upper())
    return f'[providers.{name}]\nbase_url = "https://HOST"\nkey_env = "{variable}_API_KEY"'
