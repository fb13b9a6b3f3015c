"""The help is part of the interface: each verb shows how it is used, and asking for help is quick."""

import subprocess
import sys

import click
import pytest

from batchrunner.cli import main

NOT_FOR_HELP = ("sqlalchemy", "alembic", "aiohttp", "httpx")


def verbs(group, context, path=()):
    """Every verb below ``group`` that does something, groups walked through."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, f"`{' '.join((*path, name))}` is listed and can't be had"
        with click.Context(command, info_name=name, parent=context) as inner:
            if isinstance(command, click.Group):
                yield from verbs(command, inner, (*path, name))
            elif not command.hidden:
                yield " ".join((*path, name)), command.get_help(inner)


@pytest.fixture(scope="module")
def helps():
    with click.Context(main, info_name="batchrunner") as context:
        return dict(verbs(main, context))


def shows_an_example(verb, text):
    lines = [line.strip().removeprefix("$ ") for line in text.splitlines()]
    return any(line.startswith(f"batchrunner {verb}") for line in lines[1:])


def has_a_summary(text):
    usage, after, *_ = [line.strip() for line in text.splitlines() if line.strip()]
    return usage.startswith("Usage: batchrunner") and not after.startswith("Options")


def test_there_are_verbs(helps):
    assert {"demo", "run", "status", "results", "costs"} <= set(helps)


def test_every_verb_shows_an_example(helps):
    assert [verb for verb, text in helps.items() if not shows_an_example(verb, text)] == []


def test_every_verb_has_a_summary(helps):
    assert [verb for verb, text in helps.items() if not has_a_summary(text)] == []


def test_help_without_a_verb_lists_them_all(helps):
    child = subprocess.run(
        [sys.executable, "-m", "batchrunner", "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    listed = {line.split()[0] for line in child.stdout.splitlines() if line.startswith("  ") and line.strip()}
    assert {verb.split()[0] for verb in helps} <= listed


def test_help_imports_no_database_and_no_http_client():
    code = (
        "import sys\n"
        "from batchrunner.cli import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
        f"print(*(name for name in {NOT_FOR_HELP} if name in sys.modules), file=sys.stderr)\n"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "Usage: " in child.stdout
    assert child.stderr.split() == []


def test_whoever_only_reads_does_not_wait_for_an_http_client():
    code = "import sys, batchrunner.api, batchrunner.cli.costs; print(sorted({'httpx', 'aiohttp'} & set(sys.modules)))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert child.stdout == "[]\n"
