"""``check``: validate a job file line by line."""

from typing import TYPE_CHECKING, Any

import click

from batchrunner.cli.options import body_options, json_option, provider_options, verb
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import table, talk
from batchrunner.cli.text import command_line, count, plural
from batchrunner.config import Loaded
from batchrunner.core.errors import InputError

if TYPE_CHECKING:
    from batchrunner.api import Checked

SCHEMA = "batchrunner.check/1"


@verb()
@click.argument("file", metavar="FILE")
@provider_options
@body_options
@json_option
def command(loaded: Loaded, file: str, as_json: bool) -> None:
    """Validate a job file line by line; nothing is stored, nothing is sent.

    A bad line is reported as FILE:LINE:COLUMN with the reason, and the exit code is 5. Give the options that you will
    run the file with: they can make a line good or bad.

    \b
    Examples:
      batchrunner check jobs/quickstart.jsonl
      batchrunner check prompts.jsonl --endpoint /v1/chat/completions --set max_tokens=512
      batchrunner check big.jsonl.gz --json
    """
    from batchrunner.api import attachments, check

    try:
        checked = check(file, loaded.settings.job, attachments(loaded.settings))
    except InputError as error:
        if as_json:
            print_json(_refused(error, file))
        raise
    if as_json:
        print_json(_accepted(checked))
    else:
        rows = [(endpoint, model, f"{number:,}") for endpoint, model, number in checked.by_lane]
        table(("endpoint", "model", "requests"), rows, right=(2,))
    talk(_summary(checked), quiet=loaded.settings.quiet)
    talk(f"next: {command_line(loaded, 'run', file, '-o', 'out.jsonl')}", quiet=loaded.settings.quiet)


def _summary(checked: "Checked") -> str:
    bound = f"at most {count(checked.output_tokens)} out"
    if checked.unbounded:
        bound += f" and {plural(checked.unbounded, 'request')} without an output bound"
    return f"good: {plural(checked.requests, 'request')}, about {count(checked.input_tokens)} tokens in, {bound}"


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
    }


def _refused(error: InputError, file: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "path": error.path or file,
        "valid": False,
        "bad_lines": error.count,
        "problems": [
            {"line": problem.line, "column": problem.column, "reason": problem.reason} for problem in error.problems
        ],
    }
