"""Errors as people see them: what happened, why, and what to do next; a traceback only with ``--debug``."""

import sys
import traceback

import click

from batchrunner.cli.text import safe
from batchrunner.core.errors import BatchrunnerError, ExitCode, InputError


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
        traceback.print_exception(whole)
    if isinstance(error, BatchrunnerError):
        _print_known(error)
        return error.exit_code
    if isinstance(error, click.ClickException):
        error.show(file=sys.stderr)
        return ExitCode.USAGE
    if isinstance(error, KeyboardInterrupt | click.Abort):
        click.echo("stopped; nothing was left half done", err=True)
        return ExitCode.INTERRUPTED
    click.echo(f"error: a bug in batchrunner: {type(error).__name__}: {safe(str(error))}", err=True)
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
            click.echo(safe(f"{error.path}:{problem.line}:{problem.column}: {problem.reason}"), err=True)
        hidden = error.count - len(error.problems)
        if hidden > 0:
            click.echo(f"... and {hidden:,} more", err=True)
    click.echo(f"error: {safe(error.message)}", err=True)
    if error.hint:
        click.echo(f"  try: {safe(error.hint)}", err=True)
