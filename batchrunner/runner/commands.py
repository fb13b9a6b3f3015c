"""What another process may ask of a live run, and what it is answered: plain values, strictly decoded.

A command names rows, limits and a file; nothing in it can name a key or a host, or make the run do what whoever wrote
it could not do without it.
"""

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from batchrunner.core.budget import MOST_MONEY, WARN_AT, Budget, Period, Scope
from batchrunner.core.errors import (
    BatchrunnerError,
    ConfigurationError,
    DatabaseError,
    InputError,
    Problem,
)
from batchrunner.core.job import Job, JobOptions
from batchrunner.runner.loader import Loaded
from batchrunner.store.base import Target

M = TypeVar("M")

Short = Annotated[str, Meta(max_length=600)]
Text = Annotated[str, Meta(max_length=2_000)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)] | Literal["auto"] | None
Rate = Annotated[float, Meta(gt=0, le=1e12)] | Literal["auto"] | None


class Aim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a pause holds back: see ``Target``."""

    scope: Literal["job", "lane", "provider"]
    ref: Short


class Pause(msgspec.Struct, tag="pause", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Send nothing more of these targets until ``resume``; what is in the air lands."""

    aims: Annotated[tuple[Aim, ...], Meta(min_length=1, max_length=10_000)]
    reason: Text = ""


class Resume(msgspec.Struct, tag="resume", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End what a person paused of these targets; None: all of it."""

    aims: Annotated[tuple[Aim, ...], Meta(max_length=10_000)] | None = None


class Cancel(msgspec.Struct, tag="cancel", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cancel what is queued of a job; what is in the air lands and is kept."""

    job: int


class Tune(msgspec.Struct, tag="tune", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Change limits of a live run: of one model, or of all. None leaves a limit as it is."""

    model: Short | None = None
    concurrency: Count = None
    rpm: Rate = None
    tpm: Rate = None
    max_cost: Annotated[int, Meta(ge=0, le=MOST_MONEY)] | None = None
    """Pico-dollars that the whole run may buy for, with what it has bought so far."""


class Load(msgspec.Struct, tag="load", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Queue a job file that lies at an absolute path, with the options that its sender gave."""

    path: Annotated[str, Meta(min_length=1, max_length=8_000)]
    provider: Short
    endpoint: Short | None = None
    model: Short | None = None
    settings: tuple[tuple[Short, Annotated[str, Meta(max_length=100_000)]], ...] = ()
    stream: bool = False
    stream_usage: bool = False
    dedupe: bool = False
    name: Short | None = None
    tags: tuple[tuple[Short, Text], ...] = ()
    add: bool = False
    attachments: Annotated[str, Meta(max_length=8_000)] | None = None
    """The folder, without links, that its sender has the lines' files in; the run has to read the same one."""

    @classmethod
    def of(
        cls,
        path: str,
        options: JobOptions,
        *,
        name: str | None,
        tags: tuple[tuple[str, str], ...],
        add: bool,
        attachments: str | None = None,
    ) -> "Load":
        """Make the command from a job's options."""
        return cls(
            path=path,
            provider=options.provider,
            endpoint=options.endpoint,
            model=options.model,
            settings=options.settings,
            stream=options.stream,
            stream_usage=options.stream_usage,
            dedupe=options.dedupe,
            name=name,
            tags=tags,
            add=add,
            attachments=attachments,
        )

    def refuse_other_folder(self, folder: str | None) -> None:
        """Raise ConfigurationError unless the run that reads the lines' files has them in the same folder."""
        if self.attachments not in (None, folder):
            raise ConfigurationError(
                f"the run that is going on reads local files beneath {folder or 'no folder at all'}",
                hint="leave --attachments out, or let the load queue behind it with --wait",
            )

    @property
    def options(self) -> JobOptions:
        """What changes the meaning or the bodies of the file's lines."""
        return JobOptions(
            provider=self.provider,
            endpoint=self.endpoint,
            model=self.model,
            settings=tuple(self.settings),
            stream=self.stream,
            stream_usage=self.stream_usage,
            dedupe=self.dedupe,
        )


class Retry(msgspec.Struct, tag="retry", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Queue failed requests of a job again, or those in quarantine, with a flagged answer, or its cancelled ones."""

    job: int
    kinds: tuple[Short, ...] = ()
    custom_ids: tuple[Text, ...] = ()
    quarantined: bool = False
    cancelled: bool = False
    flagged: bool = False


class SetPrices(msgspec.Struct, tag="prices", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Add prices to those of the database: what is opened from now on is priced by them."""

    entries: Annotated[str, Meta(min_length=1, max_length=900_000)]
    """As they stand in a price file."""


class Retag(msgspec.Struct, tag="retag", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Change a job's tags, after the fact; None takes one away. Nothing that was written down of a call changes."""

    job: int
    change: Annotated[tuple[tuple[Short, Text | None], ...], Meta(min_length=1, max_length=100)]
    lines: bool = False
    """Also where lines brought a tag of that name themselves."""


class SetBudget(msgspec.Struct, tag="set_budget", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cap the spending of everything, a job or a tag, for good or anew each day or month (UTC)."""

    scope: Literal["all", "job", "tag"]
    ref: Short = ""
    period: Literal["ever", "day", "month"]
    cap: Annotated[int, Meta(ge=0, le=MOST_MONEY)]
    """Pico-dollars."""
    warn: Annotated[tuple[Annotated[int, Meta(ge=1, le=100)], ...], Meta(max_length=10)] = WARN_AT
    """Percent of the cap at which people are told."""

    @property
    def budget(self) -> Budget:
        """The budget that is meant."""
        return Budget(Scope(self.scope), self.ref, Period(self.period), self.cap, self.warn)


class RemoveBudget(msgspec.Struct, tag="remove_budget", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Remove the cap of this scope and period."""

    scope: Literal["all", "job", "tag"]
    ref: Short = ""
    period: Literal["ever", "day", "month"]

    @property
    def budget(self) -> Budget:
        """The budget that is meant; its cap is none."""
        return Budget(Scope(self.scope), self.ref, Period(self.period), 0)


Command = Pause | Resume | Cancel | Tune | Load | Retry | Retag | SetPrices | SetBudget | RemoveBudget


class PauseFact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pause as an answer shows it: what is held back, why, and since when (microseconds UTC)."""

    scope: str
    ref: str
    reason: str
    evidence: str
    since: int


class Done(msgspec.Struct, tag="done", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command was done."""

    rows: int = 0
    """Requests that were cancelled or queued again, or prices that were added."""
    pauses: tuple[PauseFact, ...] = ()
    """Pauses that are new, or were ended."""
    air: int = 0
    """Calls in the air when it was done, which go on to their end."""
    live: bool = False
    """Whether a live run did it, and works on what it is about."""
    concurrency: int | None = None
    """The bound over all models, after a ``tune``."""
    lanes: tuple[str, ...] = ()
    """Provider and model of the lanes that a ``tune`` reached."""
    loaded: Loaded | None = None
    """What a ``load`` did."""
    job: Job | None = None
    """The job as it is now, after a ``cancel``, a ``retry`` or a ``retag``."""


class Refused(msgspec.Struct, tag="refused", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command was refused, in the words that its sender would have met without a live run."""

    kind: Literal["input", "configuration", "database", "bug"]
    message: str
    hint: str | None = None
    path: str = ""
    problems: tuple[Problem, ...] = ()
    count: int = 0

    @classmethod
    def of(cls, error: BatchrunnerError) -> "Refused":
        """Put an error into an answer."""
        if isinstance(error, InputError):
            return cls(
                kind="input",
                message=error.message,
                hint=error.hint,
                path=error.path,
                problems=tuple(error.problems),
                count=error.count,
            )
        kind: Literal["configuration", "database"] = (
            "configuration" if isinstance(error, ConfigurationError) else "database"
        )
        return cls(kind=kind, message=error.message, hint=error.hint)

    def error(self) -> BatchrunnerError:
        """Return the error that was put in."""
        if self.kind == "input":
            return InputError(self.message, hint=self.hint, path=self.path, problems=self.problems, count=self.count)
        classes = {"configuration": ConfigurationError, "database": DatabaseError, "bug": BatchrunnerError}
        return classes[self.kind](self.message, hint=self.hint)


Answer = Done | Refused

_COMMANDS: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_ANSWERS: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def encode(message: Command | Answer) -> bytes:
    """Return a message as JSON; a path that is no UTF-8 was made text before. Raises ConfigurationError."""
    try:
        return msgspec.json.encode(message)
    except UnicodeEncodeError:
        raise ConfigurationError(
            "a name in it is not UTF-8, and can't be handed to the run that is going on",
            hint="rename the file, or let the command queue behind the run with --wait",
        ) from None


def command(data: bytes) -> Command:
    """Read a command. Raises ValueError for whatever is not exactly one."""
    return _decode(_COMMANDS, data)


def answer(data: bytes) -> Answer:
    """Read an answer. Raises ValueError for whatever is not exactly one."""
    return _decode(_ANSWERS, data)


def _decode(decoder: msgspec.json.Decoder[M], data: bytes) -> M:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a message of ours: {error}") from error


def targets(aims: tuple[Aim, ...]) -> list[Target]:
    """Return what the store calls them."""
    return [Target(aim.scope, aim.ref) for aim in aims]
