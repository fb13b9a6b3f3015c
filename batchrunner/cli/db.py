"""``db``: the database as a file."""

from pathlib import Path

import click

from batchrunner.cli.options import json_option, verb, wait_option
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import talk
from batchrunner.cli.text import command_line, safe
from batchrunner.config import Loaded
from batchrunner.core.errors import ExitCode


@click.group()
def command() -> None:
    """The database: where it is, upgrade it, check it, copy it."""


@verb(name="path")
def path(loaded: Loaded) -> None:
    """Print where the database is, whether it is there or not.

    \b
    Examples:
      batchrunner db path
      sqlite3 "file:$(batchrunner db path)?mode=ro" "SELECT * FROM v_costs_daily"
    """
    click.echo(safe(str(loaded.settings.db)))


@verb(name="upgrade")
@click.option("--no-backup", is_flag=True, help="Do not copy the database first.")
@wait_option
def upgrade(loaded: Loaded, no_backup: bool, wait: bool) -> None:
    """Bring the database to the newest schema; it is copied first. Every run does this by itself where it is needed.

    \b
    Examples:
      batchrunner db upgrade
      batchrunner db upgrade --db old.db --no-backup
    """
    from batchrunner.api import database

    done = database.upgrade(loaded, backup=not no_backup, wait=wait)
    quiet = loaded.settings.quiet
    if done.before == done.after:
        talk(f"schema {done.after}: it is the newest already", quiet=quiet)
        return
    talk(f"schema {done.before or 'none'} -> {done.after}", quiet=quiet)
    if done.backup is not None:
        talk(f"the copy of before: {done.backup}", quiet=quiet)


@verb(name="check")
@json_option
def check(loaded: Loaded, as_json: bool) -> int:
    """Read the whole database, every answer against its checksum, and count everything anew; 74 if anything is wrong.

    It only reads, also beside a live run. A large database takes a while.

    \b
    Examples:
      batchrunner db check
      batchrunner db check --db nightly.db --json
    """
    from batchrunner.api import database

    findings = database.check(loaded)
    if as_json:
        facts = {"path": str(loaded.settings.db), "good": not findings, "findings": findings}
        print_json({"schema": "batchrunner.db-check/1", **facts})
    else:
        for finding in findings:
            click.echo(safe(finding))
    if not findings:
        talk(f"{loaded.settings.db}: nothing is wrong with it", quiet=loaded.settings.quiet)
        return ExitCode.OK
    talk(f"error: {loaded.settings.db} is damaged")
    talk("  try: restore a backup; to save what can be read first: " + command_line(loaded, "results", "JOB"))
    return ExitCode.DATABASE


@verb(name="backup")
@click.argument("target", metavar="TARGET", type=click.Path(path_type=Path))
def backup(loaded: Loaded, target: Path) -> None:
    """Copy the database to TARGET, whole and compacted; also beside a live run. TARGET must not exist.

    \b
    Examples:
      batchrunner db backup before-upgrade.db
    """
    from batchrunner.api import database

    copied = database.backup(loaded, target)
    click.echo(safe(str(copied)))
    talk(f"look at it with: batchrunner status --db {safe(str(copied))}", quiet=loaded.settings.quiet)


for subcommand in (path, upgrade, check, backup):
    command.add_command(subcommand)
