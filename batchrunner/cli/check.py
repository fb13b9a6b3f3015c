"""``check``: validate a job file line by line."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from batchrunner.cli.options import body_options, json_option, provider_options, verb
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import table, talk
from batchrunner.cli.text import aimed, command_line, count, one_line, plural
from batchrunner.config import Loaded
from batchrunner.core.errors import InputError, Problem

if TYPE_CHECKING:
    from batchrunner.api import Checked

SCHEMA = "batchrunner.check/1"
MOST_NOTES = 20
"""Unknown fields that are named; the rest is counted."""


@verb()
@click.argument("file", metavar="FILE")
@provider_options
@body_options
@click.option(
    "--for",
    "purpose",
    type=click.Choice(["together-batch", "openai-batch", "fine-tune"]),
    help="Hold it to the rules of this kind of file, too.",
)
@json_option
def command(loaded: Loaded, file: str, purpose: str | None, as_json: bool) -> None:
    """Validate a job file line by line; nothing is stored, nothing is sent.

    A bad line is reported as FILE:LINE:COLUMN with the reason, and the exit code is 5. What the provider will probably
    refuse is a warning, and a field that nobody describes a note: neither keeps a file from being run. Give the
    options that you will run the file with: they can make a line good or bad.

    \b
    Examples:
      batchrunner check jobs/quickstart.jsonl
      batchrunner check prompts.jsonl --endpoint /v1/chat/completions --set max_tokens=512
      batchrunner check big.jsonl.gz --json
      batchrunner check nightly.jsonl --for together-batch
    """
    from batchrunner.api import RefusedFileError, attachments, check, tokenizer

    try:
        dialects = {name: provider.quirks for name, provider in loaded.settings.providers.items()}
        attached = attachments(loaded.settings)
        counter = tokenizer(loaded.settings)
        checked = check(file, loaded.settings.job, attached, dialects=dialects, purpose=purpose, tokenizer=counter)
    except InputError as error:
        found = error.found if isinstance(error, RefusedFileError) else None
        if as_json:
            print_json(_refused(error, file, found))
        elif found is not None:
            for line in _odd(found):
                talk(line, quiet=loaded.settings.quiet)
        raise
    if as_json:
        print_json(_accepted(checked))
    elif checked.by_lane:
        rows = [(endpoint, model, f"{number:,}") for endpoint, model, number in checked.by_lane]
        table(("endpoint", "model", "requests"), rows, right=(2,))
    for line in _odd(checked):
        talk(line, quiet=loaded.settings.quiet)
    if purpose is not None:
        talk(f"good for {purpose}: {plural(checked.requests, 'line')}", quiet=loaded.settings.quiet)
    if not checked.by_lane:
        return
    talk(_summary(checked), quiet=loaded.settings.quiet)
    folder = loaded.settings.attachments
    files = [] if folder is None else ["--attachments", str(folder)]
    more = [*files, *aimed(loaded, "provider", "base_url"), "-o", "out.jsonl"]
    talk(f"next: {command_line(loaded, 'run', file, *more)}", quiet=loaded.settings.quiet)


def _summary(checked: "Checked") -> str:
    bound = f"at most {count(checked.output_tokens)} out"
    if checked.unbounded:
        bound += f" and {plural(checked.unbounded, 'request')} without an output bound"
    return f"good: {plural(checked.requests, 'request')}, about {count(checked.input_tokens)} tokens in, {bound}"


def _odd(checked: "Checked") -> list[str]:
    """Return what does not keep the file from being run, in words."""
    from batchrunner.endpoints.bodies import nearest

    lines = [
        f"{checked.path}:{problem.line}:{problem.column}: warning: {one_line(problem.reason, 300)}"
        for problem in checked.warnings
    ]
    if checked.warned > len(checked.warnings):
        lines.append(f"... and {checked.warned - len(checked.warnings):,} more warnings")
    for endpoint, field, number, first in checked.unknown[:MOST_NOTES]:
        where = f"line {first:,}" if number == 1 else f"{number:,} lines, the first is {first:,}"
        known = nearest(endpoint, field)
        meant = f" (did you mean `{known}`?)" if known else ""
        lines.append(f"note: `{one_line(field, 60)}` is no known field of {endpoint}{meant}: sent as it is ({where})")
    if len(checked.unknown) > MOST_NOTES:
        lines.append(f"note: ... and {len(checked.unknown) - MOST_NOTES:,} more unknown fields")
    return lines


def _accepted(checked: "Checked") -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "path": checked.path,
        "valid": True,
        "requests": checked.requests,
        "by_model": [
            {"endpoint": endpoint, "model": model, "requests": number} for endpoint, model, number in checked.by_lane
        ],
        "estimated_input_tokens": checked.input_tokens,
        "max_output_tokens": checked.output_tokens,
        "without_output_bound": checked.unbounded,
        "bad_lines": 0,
        "problems": [],
        **_beside(checked),
    }


def _beside(checked: "Checked") -> dict[str, Any]:
    """Return what does not keep the file from being run."""
    return {
        "warned": checked.warned,
        "warnings": _places(checked.warnings),
        "unknown_fields": [
            {"endpoint": endpoint, "field": field, "requests": number, "first_line": first}
            for endpoint, field, number, first in checked.unknown
        ],
    }


def _refused(error: InputError, file: str, found: "Checked | None") -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "path": error.path or file,
        "valid": False,
        "bad_lines": error.count,
        "problems": _places(error.problems),
        **({} if found is None else _beside(found)),
    }


def _places(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    return [{"line": problem.line, "column": problem.column, "reason": problem.reason} for problem in problems]
