"""``doctor``: is everything there that a run needs? Each finding comes with its fix."""

import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import Final

import anyio
import click

from batchrunner.cli import machine
from batchrunner.cli.hardening import leaks
from batchrunner.cli.machine import Finding, Level
from batchrunner.cli.models import EXIT_CODES
from batchrunner.cli.options import json_option, provider_options, verb
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import talk
from batchrunner.cli.room import told
from batchrunner.cli.text import one_line, plural, safe
from batchrunner.config import Loaded, key_source, limits_for
from batchrunner.core.attempt import Failure
from batchrunner.core.errors import BatchrunnerError, ConfigurationError, ExitCode
from batchrunner.store.filesystem import free_at
from batchrunner.transport.proxies import proxy_label

WORST: Final = (ExitCode.DATABASE, ExitCode.USAGE, ExitCode.AUTH, ExitCode.NO_MONEY, ExitCode.UNAVAILABLE)
"""Which problem's exit code is taken where there are several."""

READ_WHOLE: Final = 64 << 20
"""Bytes up to which a database is read as a whole."""


@verb()
@provider_options
@click.option("--offline", is_flag=True, help="Do not ask the provider anything.")
@json_option
def command(loaded: Loaded, offline: bool, as_json: bool) -> int:
    """Check key, endpoint, database, disk, SQLite and terminal, with the fix for each. Nothing is changed or bought.

    The exit code is that of the worst problem: 74 database or disk, 2 settings or no key, 6 the key was refused, 4 no
    credit, 7 the endpoint can't be reached; warnings leave it at 0.

    \b
    Examples:
      batchrunner doctor
      batchrunner doctor --offline
      batchrunner doctor --provider openai --json
    """
    findings: list[Finding] = []
    for finding in _look(loaded, offline=offline):
        findings.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        print_json({"schema": "batchrunner.doctor/1", "findings": [_facts(finding) for finding in findings]})
    problems = [finding for finding in findings if finding.level is Level.PROBLEM]
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    talk(f"{plural(len(problems), 'problem')}, {plural(warnings, 'warning')}", quiet=loaded.settings.quiet)
    codes = {finding.code for finding in problems}
    return next((code for code in WORST if code in codes), ExitCode.OK)


def _show(finding: Finding) -> None:
    click.echo(f"{finding.level.value:<8} {finding.what:<9} {one_line(finding.message, 300)}")
    if finding.fix:
        click.echo(f"{'':<18} try: {safe(finding.fix)}")


def _facts(finding: Finding) -> dict[str, str | None]:
    return {
        "what": finding.what,
        "level": finding.level.value,
        "message": finding.message,
        "fix": finding.fix or None,
    }


def _look(loaded: Loaded, *, offline: bool) -> Iterator[Finding]:
    settings = loaded.settings
    yield machine.python(sys.version_info[:3])
    yield machine.sqlite(machine.sqlite_version())
    yield from _database(loaded)
    yield machine.disk(settings.db.parent)
    yield machine.open_files(limits_for(settings, settings.provider, "").concurrency)
    yield machine.terminal()
    key = _key(loaded)
    yield key
    yield _host(loaded)
    yield _way(loaded)
    if offline or key.level is Level.PROBLEM:
        why = "not asked: --offline" if offline else "not asked: there is no key to ask with"
        yield Finding("endpoint", Level.OK, why)
    else:
        yield _endpoint(loaded)


def _database(loaded: Loaded) -> Iterator[Finding]:
    path = loaded.settings.db
    place = machine.folder(path)
    yield place
    if place.level is Level.PROBLEM:
        return
    if not path.exists():
        yield Finding("database", Level.OK, f"{path} is not there yet: the first load makes it")
        return
    try:
        yield _jobs(loaded)
        yield from _vectors(loaded)
        if (loose := machine.mode(path)) is not None:
            yield loose
        if path.stat().st_size <= READ_WHOLE:
            yield _health(loaded)
    except BatchrunnerError as error:
        yield Finding("database", Level.PROBLEM, error.message, error.hint or "", error.exit_code)


def _jobs(loaded: Loaded) -> Finding:
    from batchrunner.api import reads

    with reads(loaded) as queue:
        jobs = queue.jobs()
    megabytes = loaded.settings.db.stat().st_size / (1 << 20)
    return Finding("database", Level.OK, f"{loaded.settings.db}: {plural(len(jobs), 'job')}, {megabytes:.1f} MiB")


def _vectors(loaded: Loaded) -> Iterator[Finding]:
    """Say what the vectors will take that corpora wait for."""
    from batchrunner.api import reads
    from batchrunner.api.room import vector_room

    db = loaded.settings.db
    with reads(loaded) as queue:
        rooms = [(job, vector_room(queue, loaded.settings, job)) for job in queue.jobs()]
    for job, room in rooms:
        if room is not None and room.database:
            what = f"corpus {one_line(job.name, 60)}: {told(room, db, db)}"
            if free_at(str(db)) < room.database + room.export:
                yield Finding("vectors", Level.WARNING, what, "make room, or put the database elsewhere with --db")
            else:
                yield Finding("vectors", Level.OK, what)


def _health(loaded: Loaded) -> Finding:
    from batchrunner.api import database

    findings = database.check(loaded)
    if not findings:
        return Finding("database", Level.OK, "read as a whole: nothing is wrong with it")
    return Finding(
        "database",
        Level.PROBLEM,
        f"it is damaged: {findings[0]} ({plural(len(findings), 'finding')})",
        "batchrunner db check, then restore a backup",
        ExitCode.DATABASE,
    )


def _key(loaded: Loaded) -> Finding:
    provider = loaded.settings.provider_named(loaded.settings.provider)
    try:
        key = loaded.key_for(provider.name)
    except ConfigurationError as error:
        return Finding("key", Level.PROBLEM, error.message, error.hint or "", ExitCode.USAGE)
    if key is None:
        return Finding("key", Level.OK, f"{provider.name} takes none")
    source = key_source(provider, loaded.environment, loaded.dotenv, file=loaded.key_file_for(provider.name))
    return Finding("key", Level.OK, f"{provider.key_env} looks like a key (from {source})")


def _host(loaded: Loaded) -> Finding:
    provider = loaded.settings.provider_named(loaded.settings.provider)
    origin = loaded.origins[f"providers.{provider.name}.base_url"]
    return Finding("host", Level.OK, f"{provider.name} is {provider.base_url} (from {origin.source})")


def _way(loaded: Loaded) -> Finding:
    settings = loaded.settings
    try:
        proxy = None if settings.no_proxy else proxy_label(settings.provider_named(settings.provider).base_url)
    except ConfigurationError as error:
        return Finding("network", Level.PROBLEM, error.message, error.hint or "", ExitCode.USAGE)
    if (warning := leaks(os.environ)) is not None:
        return Finding("network", Level.WARNING, warning, "unset SSLKEYLOGFILE")
    return Finding("network", Level.OK, f"through the proxy {proxy}" if proxy else "straight, without a proxy")


def _endpoint(loaded: Loaded) -> Finding:
    from batchrunner.api.catalogue import catalogue

    name = loaded.settings.provider
    try:
        found = anyio.run(partial(catalogue, loaded, name))
    except ConfigurationError as error:
        return Finding("endpoint", Level.PROBLEM, error.message, error.hint or "", ExitCode.USAGE)
    if not isinstance(found, Failure):
        return Finding("endpoint", Level.OK, f"it took the key and lists {plural(len(found), 'model')}")
    code = EXIT_CODES.get(found.kind, ExitCode.UNAVAILABLE)
    status = f" (status {found.status})" if found.status else ""
    return Finding("endpoint", Level.PROBLEM, f"{found.message}{status}", _FIXES.get(code, _FIXES[None]), code)


_FIXES: Final[dict[ExitCode | None, str]] = {
    ExitCode.AUTH: "set the key that the provider shows on its site; is it the key of this provider?",
    ExitCode.NO_MONEY: "add credit to the account",
    None: "check the base URL, the network and any proxy; the provider's status page tells of outages",
}
