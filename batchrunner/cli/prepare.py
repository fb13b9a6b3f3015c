"""``prepare``: data and a template become a job file."""

import json
from typing import Any

import click

from batchrunner.cli.options import body_options, recipe_options, verb
from batchrunner.cli.params import COUNT
from batchrunner.cli.render import talk
from batchrunner.cli.text import command_line, plural, safe
from batchrunner.config import Loaded

MOST_SHOWN = 4_000
"""Characters of the preview."""


@verb()
@click.argument("source", metavar="SRC")
@click.option(
    "-t", "--template", required=True, metavar="FILE", help="A Jinja2 template: prompt.jinja, body.json.jinja."
)
@click.option("-o", "--output", required=True, metavar="OUT", help="The job file, or - for stdout.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--limit", type=COUNT, help="Take the first N rows only.")
@recipe_options
@body_options
def command(loaded: Loaded, *, source: str, template: str, output: str, force: bool, **given: Any) -> None:
    """Make a job file of data and a template, and show its first request.

    SRC is CSV, TSV, JSON Lines, Parquet, plain lines (column `text`), a folder of text files (columns `path` and
    `text`), or - for standard input (JSON Lines, or --format csv). A template makes the user's message of each row, or
    the whole body if its name ends in .json.jinja. A column that is not there is an error. Nothing is sent.

    \b
    Examples:
      batchrunner prepare books.csv -t prompt.jinja -o job.jsonl --model ID --id isbn --keep title,year
      batchrunner prepare notes/ -t prompt.jinja -o job.jsonl --model ID --system @system.txt --set max_tokens=200
      batchrunner prepare rows.parquet -t body.json.jinja -o job.jsonl --limit 10
    """
    from batchrunner.api import prepare
    from batchrunner.cli.recipes import recipe_of

    quiet = loaded.settings.quiet
    recipe = recipe_of(template, **given)
    assert recipe is not None  # noqa: S101 - for the type checker: there is a template
    made = prepare(
        source, recipe, output, loaded.settings, force=force, first=lambda line: talk(preview(line), quiet=quiet)
    )
    place = "on stdout" if made.out == "-" else f"in {made.out}"
    talk(f"{plural(made.requests, 'request')} {place}, about {plural(made.est_in, 'input token')}", quiet=quiet)
    if made.out != "-":
        talk(f"next: {command_line(loaded, 'run', made.out)}", quiet=quiet)


def preview(line: bytes) -> str:
    """Return the first request for people: indented, cut where it is long, and unable to steer a terminal."""
    text = json.dumps(json.loads(line), indent=2, ensure_ascii=False)
    cut = f"\n... ({len(text) - MOST_SHOWN:,} characters more)" if len(text) > MOST_SHOWN else ""
    return f"the first request:\n{safe(text[:MOST_SHOWN])}{cut}"
