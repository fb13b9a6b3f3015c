"""Errors as people see them: what happened, why, and what to do next; a traceback only with ``--debug``."""

import io
import traceback

import click

from batchrunner.cli.text import paragraph, safe
from batchrunner.core.errors import BatchrunnerError, ExitCode, InputError
from batchrunner.transport.secret import without_keys


def exit_code_of(error: BaseException, *, debug: bool) -> int:
    """Print an error to stderr and return its exit code."""
    whole, error = error, _unwrap(error)
    if isinstance(error, SystemExit):
        if error.code == ExitCode.TERMINATED:
            click.echo("stopped; nothing was left half done", err=True)
        return int(error.code) if isinstance(error.code, int) else ExitCode.BUG
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if debug and not isinstance(error, click.ClickException | click.Abort):
        click.echo(without_keys(safe("".join(traceback.format_exception(whole)))), err=True)
    if isinstance(error, BatchrunnerError):
        _print_known(error)
        return error.exit_code
    if isinstance(error, click.ClickException):
        said = io.StringIO()
        error.show(file=said)
        click.echo(safe(said.getvalue().rstrip("\n")), err=True)
        return ExitCode.USAGE
    if isinstance(error, KeyboardInterrupt | click.Abort):
        click.echo("stopped; nothing was left half done", err=True)
        return ExitCode.INTERRUPTED
    click.echo(f"error: a bug in batchrunner: {type(error).__name__}: {without_keys(paragraph(str(error)))}", err=True)
    click.echo("  try: the same command with --debug, and report what it prints", err=True)
    return ExitCode.BUG


def _unwrap(error: BaseException) -> BaseException:
    """Return the one error inside a group of one; our own errors pass task groups this way."""
    while isinstance(error, BaseExceptionGroup):
        ours = [inner for inner in error.exceptions if isinstance(_unwrap(inner), BatchrunnerError)]
        error = ours[0] if ours else error.exceptions[0]
    return error


def _print_known(error: BatchrunnerError) -> None:
    if isinstance(error, InputError):
        for problem in error.problems:
            if error.count == 1 and f":{problem.line}" in error.message and problem.reason in error.message:
                continue  # it is said right below
            click.echo(paragraph(f"{error.path}:{problem.line}:{problem.column}: {problem.reason}"), err=True)
        hidden = error.count - len(error.problems)
        if hidden > 0:
            click.echo(f"... and {hidden:,} more", err=True)
    click.echo(f"error: {without_keys(paragraph(error.message))}", err=True)
    if error.hint:
        click.echo(f"  try: {without_keys(paragraph(error.hint))}", err=True)
