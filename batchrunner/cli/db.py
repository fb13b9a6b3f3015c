"""``db``: the database as a file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchrunner.cli.options import json_option, verb, wait_option
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import talk
from batchrunner.cli.text import command_line, plural, safe
from batchrunner.config import Loaded
from batchrunner.core.errors import ExitCode

if TYPE_CHECKING:
    from batchrunner.store.artifacts import Unnamed

MOST_LACKING = 20
"""Files that could not be copied that are listed; the rest is counted."""


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
@click.option("--remove-unnamed", is_flag=True, help="Remove the files in the artifacts folder that no answer names.")
@wait_option
@json_option
def check(loaded: Loaded, remove_unnamed: bool, wait: bool, as_json: bool) -> int:
    """Read the whole database, every answer and every file against its checksum, and count everything anew; 74 if
    anything is wrong.

    It only reads, also beside a live run. A large database takes a while. A crash can leave files that no answer names;
    they are counted, and removed where you ask for it, with no run going on and nothing found wrong.

    \b
    Examples:
      batchrunner db check
      batchrunner db check --db nightly.db --json
      batchrunner db check --remove-unnamed
    """
    from batchrunner.api import database

    findings = database.check(loaded)
    removed = remove_unnamed and not findings
    strays = database.remove_unnamed(loaded, wait=wait) if removed else database.unnamed(loaded)
    if as_json:
        facts = {"path": str(loaded.settings.db), "good": not findings, "findings": findings}
        print_json({"schema": "batchrunner.db-check/1", **facts, "unnamed": {**strays._asdict(), "removed": removed}})
    else:
        for finding in findings:
            click.echo(safe(finding))
    _tell_strays(loaded, strays, removed=removed)
    if not findings:
        talk(f"{loaded.settings.db}: nothing is wrong with it", quiet=loaded.settings.quiet)
        return ExitCode.OK
    talk(f"error: {loaded.settings.db} is damaged")
    talk("  try: restore a backup; to save what can be read first: " + command_line(loaded, "results", "JOB"))
    return ExitCode.DATABASE


def _tell_strays(loaded: Loaded, strays: "Unnamed", *, removed: bool) -> None:
    if not strays.files:
        return
    what, quiet = f"{plural(strays.files, 'file')} ({strays.bytes:,} bytes) that no answer names", loaded.settings.quiet
    if removed:
        talk(f"removed {what}", quiet=quiet)
    else:
        talk(f"the artifacts folder holds {what}: left by a crash, or a run is about to name them", quiet=quiet)
        talk("  remove them: " + command_line(loaded, "db", "check", "--remove-unnamed"), quiet=quiet)


@verb(name="backup")
@click.argument("target", metavar="TARGET", type=click.Path(path_type=Path))
def backup(loaded: Loaded, target: Path) -> int:
    """Copy the database to TARGET, whole and compacted, and the files that its answers brought to TARGET.artifacts;
    also beside a live run. TARGET must not exist.

    Files that are there already with the right bytes are not copied again. 74 if one is missing or damaged here: the
    rest is copied all the same.

    \b
    Examples:
      batchrunner db backup before-upgrade.db
    """
    from batchrunner.api import database

    copied, quiet = database.backup(loaded, target), loaded.settings.quiet
    click.echo(safe(str(copied.path)))
    if copied.files.files:
        files, size = plural(copied.files.files, "file"), copied.files.bytes
        talk(f"its answers brought {files} ({size:,} bytes), copied to {safe(str(copied.folder))}", quiet=quiet)
    talk(f"look at it with: batchrunner status --db {safe(str(copied.path))}", quiet=quiet)
    for lacking in copied.files.lacking[:MOST_LACKING]:
        talk(f"not copied: {lacking}")
    if not copied.files.lacking:
        return ExitCode.OK
    talk(f"error: the backup lacks {plural(len(copied.files.lacking), 'file')} that its answers name")
    talk("  try: an earlier backup may have them: " + command_line(loaded, "db", "check") + " lists what is missing")
    return ExitCode.DATABASE


for subcommand in (path, upgrade, check, backup):
    command.add_command(subcommand)
