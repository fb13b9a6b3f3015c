"""``errors``: failures by kind, one sample each, and what to do about them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import click

from batchrunner.cli.facts import job_facts
from batchrunner.cli.options import json_option, verb
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import table, talk
from batchrunner.cli.text import command_line, one_line
from batchrunner.config import Loaded
from batchrunner.core.attempt import FailureKind
from batchrunner.core.corpus import EMPTY, TOO_LONG
from batchrunner.core.labels import label_of

if TYPE_CHECKING:
    from batchrunner.store.base import FailureGroup

ADVICE: Final[Mapping[str, str]] = MappingProxyType(
    {
        FailureKind.RATE_LIMITED: "the provider's limit held to the end: retry them with a lower --rpm or --tpm",
        FailureKind.OVERLOADED: "the provider had no capacity: retry them later, with a lower --concurrency",
        FailureKind.TIMEOUT: "no answer in time, maybe billed: retry them; if that fails again, load the file with a"
        " smaller max_tokens, or set a longer deadline in [providers.NAME]",
        FailureKind.CONNECTION: "the connection broke: check the network with `batchrunner doctor`, then retry them",
        FailureKind.STALE_CONNECTION: "the server closed idle connections: retry them",
        FailureKind.SERVER_ERROR: "the provider failed, maybe billed: retry them later; if it is always the same rows,"
        " look at their bodies",
        FailureKind.BAD_REPLY: "the answer was not one: check --base-url; if the host is right, retry them",
        FailureKind.RESPONSE_TOO_LARGE: "the answer was too long to take: ask for less, with a smaller max_tokens or n",
        FailureKind.INVALID_REQUEST: "the provider refuses these bodies: mend the lines, or change a key with --set,"
        " and load them anew; a retry alone fails again",
        FailureKind.CONTEXT_LENGTH: "too long for the model: shorten the prompts, lower max_tokens, or take one with"
        " a larger context with --model",
        FailureKind.ATTACHMENT: "a local file could not be sent, and nothing was: put it in its place, then retry them"
        " and run with --attachments DIR",
        FailureKind.CONTENT_FILTER: "the provider's filter refused them: change the prompts; a retry alone fails again",
        FailureKind.AUTH: "the key was refused: check it with `batchrunner doctor`, then retry them",
        FailureKind.NO_CREDIT: "the account is empty or at its limit: add credit, then retry them",
        FailureKind.MODEL_UNAVAILABLE: "the model is not there: see `batchrunner models`, then load the file again with"
        " --model",
        FailureKind.MISCONFIGURED: "the host does not speak this API: check the base URL with `batchrunner doctor`",
        FailureKind.EXPIRED: "paid for, but its file or job is gone at the provider: a retry buys it again; let runs"
        " go on to their end, since such addresses live for minutes or hours",
        EMPTY: "there is nothing to embed: leave them out, or fill them, and embed the source again",
        TOO_LONG: "embed the source again with --too-long truncate, or --too-long chunk",
        FailureKind.LOST: "the runner died with these calls open, maybe billed: a retry asks again",
        FailureKind.INTERRUPTED: "the run was stopped with these calls open, maybe billed: a retry asks again",
    }
)
"""What to do about each kind of failure."""

OF_TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        FailureKind.TIMEOUT: "no answer in time, maybe billed: retry them; if that fails again, set a longer deadline"
        " in [providers.NAME]",
        FailureKind.RESPONSE_TOO_LARGE: "the answer was too long to take: run with a larger --max-response",
        FailureKind.INVALID_REQUEST: "the provider refuses these texts: mend them in the source or leave them out, and"
        " embed it again; a retry alone fails again",
        FailureKind.CONTEXT_LENGTH: "too long for the model: embed the source again with --too-long truncate or"
        " --too-long chunk, and with a smaller --text-tokens",
        FailureKind.CONTENT_FILTER: "the provider's filter refused them: change the texts; a retry alone fails again",
        FailureKind.MODEL_UNAVAILABLE: "the model is not there: see `batchrunner models`, then embed the source as"
        " another corpus with --model and --name",
    }
)
"""What to do about a kind where it is the texts of a corpus that failed, and that is something else."""

MOST_NAMES: Final = 20
"""Texts of a corpus that are named for each kind of failure; its export names all."""

OTHERWISE: Final = "look at the message, then retry them"


@verb()
@click.argument("job", metavar="JOB")
@json_option
def command(loaded: Loaded, job: str, as_json: bool) -> None:
    """Show a job's failures by kind and status: how many, one of them, and what to do about it.

    \b
    Examples:
      batchrunner errors quickstart
      batchrunner errors quickstart --json
      batchrunner retry quickstart --kind timeout          then: queue them again
    """
    from batchrunner.api import reads

    with reads(loaded) as queue:
        found = queue.job(job)
        groups = queue.failures(found)
        advice = {**ADVICE, **OF_TEXTS} if queue.corpus(found) is not None else ADVICE
        names = queue.at_fault(found, MOST_NAMES)
    if as_json:
        print_json(
            {
                "schema": "batchrunner.errors/1",
                "job": job_facts(found),
                "failed": sum(group.count for group in groups),
                "groups": [_facts(group, names.get((group.kind, group.status)), advice) for group in groups],
            }
        )
    elif groups:
        _show(groups)
        for group in groups:
            _show_names(group, names.get((group.kind, group.status), []))
    for line in _told(loaded, found.name, groups, advice):
        talk(line, quiet=loaded.settings.quiet)


def _show_names(group: "FailureGroup", names: list[str]) -> None:
    """List the texts of a corpus that are at fault, as far as they are few."""
    if names:
        more = f" and {group.count - len(names):,} more" if group.count > len(names) else ""
        click.echo(f"{group.kind}: {', '.join(one_line(name, 60) for name in names)}{more}")


def _facts(group: "FailureGroup", names: list[str] | None, advice: Mapping[str, str]) -> dict[str, Any]:
    texts = {} if names is None else {"texts": names}
    return {
        **texts,
        "kind": group.kind,
        "status": group.status,
        "sdk_class": _label(group),
        "count": group.count,
        "sample": {"custom_id": group.custom_id, "line": group.line, "message": group.message},
        "advice": advice.get(group.kind, OTHERWISE),
    }


def _label(group: "FailureGroup") -> str:
    """Return the name under which the official SDKs raise the same error."""
    return "" if group.kind in (EMPTY, TOO_LONG) else label_of(group.status, group.kind) or ""


def _show(groups: list["FailureGroup"]) -> None:
    rows = [
        (
            group.kind,
            "-" if group.status is None else str(group.status),
            _label(group),
            f"{group.count:,}",
            one_line(group.custom_id, 30),
            f"{group.line:,}",
            one_line(group.message, 90),
        )
        for group in groups
    ]
    table(("kind", "status", "SDK class", "rows", "such as", "line", "message"), rows, right=(1, 3, 5))


def _told(loaded: Loaded, name: str, groups: list["FailureGroup"], advice: Mapping[str, str]) -> list[str]:
    if not groups:
        return ["no failures"]
    kinds = dict.fromkeys(group.kind for group in groups)
    lines = [f"{one_line(kind, 40)}: {advice.get(kind, OTHERWISE)}" for kind in kinds]
    again = next((kind for kind in kinds if kind not in (EMPTY, TOO_LONG)), None)
    return lines if again is None else [*lines, f"next: {command_line(loaded, 'retry', name, '--kind', again)}"]
