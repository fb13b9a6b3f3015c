"""The command line: one file per verb, imported only when it is asked for."""

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from batchrunner.cli import interrupts
from batchrunner.cli.failures import exit_code_of
from batchrunner.cli.hardening import harden
from batchrunner.cli.pipes import until_unread

VERBS = (
    "demo",
    "doctor",
    "check",
    "prepare",
    "run",
    "load",
    "embed",
    "status",
    "results",
    "errors",
    "retry",
    "pause",
    "resume",
    "cancel",
    "tune",
    "costs",
    "prices",
    "models",
    "db",
    "config",
    "simulate",
    "selftest",
)
"""In the order in which people meet them."""


class Verbs(click.Group):
    """The group of all verbs; turns every error into its exit code and a message that says what to do next."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs without importing them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb's file and return its command."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"batchrunner.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs from their summaries, so that ``--help`` imports none of them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, _SUMMARIES[verb]) for verb in VERBS])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; a reader of its output that has seen enough is no error."""
        with until_unread(sys.stdout, sys.stderr):
            return super().invoke(ctx)

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run a verb and exit with its documented code."""
        extra["standalone_mode"] = False
        debug = "--debug" in (sys.argv[1:] if args is None else args)
        own_process = args is None  # a caller that hands in the words keeps its signals
        if own_process:
            harden()
            interrupts.once()
        try:
            code = super().main(args, *rest, **extra)
        except BaseException as error:  # noqa: BLE001 - the one place where every error becomes an exit code
            code = exit_code_of(error, debug=debug)
        if own_process:
            interrupts.over()
        sys.exit(code or 0)


_SUMMARIES = {
    "demo": "See it work in 20 seconds: no key, no network, a kill, a resume, a bill.",
    "doctor": "Check key, endpoint, database, disk and terminal, with the fix for each.",
    "check": "Validate a job file line by line; nothing is stored, nothing is sent.",
    "prepare": "Make a job file of data and a template: CSV, Parquet, JSONL, a folder.",
    "run": "Load if needed, work, export. Running it again continues.",
    "load": "Queue a job file without sending anything.",
    "embed": "Texts to vectors: packed, deduplicated, resumable.",
    "status": "Show the jobs, or one job.",
    "results": "Export a job's answers: JSONL, CSV or Parquet, to a file or to stdout.",
    "errors": "Show failures by kind, with a sample each and what to do.",
    "retry": "Queue failed requests again, or cancelled ones.",
    "pause": "Hold back a job, a model or a provider, also of a run that is going on.",
    "resume": "Go on with what was paused.",
    "cancel": "Cancel what is queued of a job.",
    "tune": "Change the limits of the run that is going on.",
    "costs": "What it cost, by model, job, day or endpoint.",
    "prices": "The price book.",
    "models": "The provider's catalogue.",
    "db": "The database: path, upgrade, check, backup.",
    "config": "Settings, and where each came from.",
    "simulate": "A provider in a box, on loopback.",
    "selftest": "Show on this machine that the promises hold: kills, limits, faults.",
}


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="batchrunner", message="batchrunner %(version)s")
def main() -> None:
    """Batch jobs for LLM endpoints: a durable queue, limits that are kept, and the bill.

    \b
    Start here:
      batchrunner demo                                    no key needed
      batchrunner run jobs/quickstart.jsonl -o out.jsonl  the real thing

    Data goes to stdout, everything else to stderr. Exit codes: 0 all well, 2 usage or spending not confirmed,
    3 some requests failed, 4 out of credit, 5 bad input file, 6 key refused, 7 provider or model unavailable,
    8 ended by its deadline, 74 database or disk, 75 another runner holds the database, 130/143 interrupted and
    resumable, 1 a bug.
    """


__all__ = ["main"]
