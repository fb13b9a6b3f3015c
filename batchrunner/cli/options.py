"""Options that every verb takes, and the settings that they make with files and environment."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from batchrunner.cli.hardening import leaks
from batchrunner.cli.params import COUNT, COUNT_OR_AUTO, DURATION, RATE_OR_AUTO, SETTING, SIZE, TAG
from batchrunner.cli.render import talk
from batchrunner.config import Loaded, load_here
from batchrunner.transport.hosts import host_label
from batchrunner.transport.proxies import proxy_label

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _stack(*options: Decorator) -> Decorator:
    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_one_db = click.option("--db", metavar="PATH", help="The queue's database.  [default: batchrunner.db]")
_several_dbs = click.option(
    "--db",
    metavar="PATH",
    multiple=True,
    help="A database; repeat it to read several as one.  [default: batchrunner.db]",
)
_everywhere = _stack(
    click.option("--config", metavar="PATH", help="Project file instead of ./batchrunner.toml."),
    click.option("--yes", is_flag=True, help="Spend without asking."),
    click.option("--no-input", is_flag=True, help="Never ask; fail where an answer is needed."),
    click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong."),
    click.option("-v", "--verbose", count=True, help="Say more."),
    click.option("--debug", is_flag=True, help="Show tracebacks."),
    click.option(
        "--progress", type=click.Choice(["auto", "live", "plain", "json", "none"]), help="How a run is shown."
    ),
    click.option("--color", type=click.Choice(["auto", "always", "never"]), help="Colour on the terminal."),
)

provider_options = _stack(
    click.option("--provider", metavar="NAME", help="together, openai, or one from the configuration."),
    click.option("--base-url", metavar="URL", help="Another host for the provider; its key goes there."),
    click.option("--api-key-file", metavar="PATH", help="A file that holds the provider's key; only you may read it."),
    click.option("--ca-file", metavar="PATH", help="More authorities to trust, as PEM: for a proxy with its own."),
    click.option("--no-proxy", is_flag=True, help="Go past the proxies of the environment."),
)

body_options = _stack(
    click.option("--endpoint", metavar="PATH", help="For lines that name none, such as /v1/chat/completions."),
    click.option("--model", metavar="ID", help="Replace the model in every body."),
    click.option("--set", "settings", type=SETTING, multiple=True, help="Change a key of every body: max_tokens=512."),
    click.option("--stream", is_flag=True, help="Have chats and completions streamed: for long answers."),
    click.option("--tokenizer", metavar="FILE", help="A local tokenizer.json that counts tokens, instead of a guess."),
    click.option("--dedupe", is_flag=True, help="Send lines with the same body once; the others get its answer."),
    click.option("--attachments", metavar="DIR", help="Folder of the files that lines refer to: file:photos/1.jpg."),
)

job_options = _stack(
    body_options,
    click.option("--tag", "tags", type=TAG, multiple=True, help="Label the job for its costs: team=search."),
    click.option("--name", metavar="NAME", help="Name of the job.  [default: the file's]"),
    click.option("--add", is_flag=True, help="The file grew: take its new lines into the job."),
)

limit_options = _stack(
    click.option(
        "--concurrency",
        type=COUNT_OR_AUTO,
        help="Calls in flight, over all models; auto learns how many are welcome.  [default: auto]",
    ),
    click.option(
        "--rpm", type=RATE_OR_AUTO, help="Requests a minute for each model: 600, 3k; auto learns it.  [default: auto]"
    ),
    click.option(
        "--tpm", type=RATE_OR_AUTO, help="Tokens a minute for each model: 250k, 2M; auto learns it.  [default: auto]"
    ),
    click.option("--idle-timeout", type=DURATION, help="Give up a stream that is silent for so long.  [default: 60s]"),
    click.option("--keep-partial", is_flag=True, help="Keep the part of a streamed answer that breaks off for good."),
    click.option("--max-response", type=SIZE, help="Bytes that an answer may have: 8MiB.  [default: 32MiB]"),
)

money_options = _stack(
    click.option("--max-cost", metavar="USD", help="What this run may spend, at worst: 12.50. It asks nothing then."),
    click.option("--assume-price", metavar="IN/OUT", help="Dollars per million tokens of models without a price."),
    click.option("--assume-output", type=COUNT, help="For budgets: tokens of an answer that nothing bounds, at most."),
)

DATA = click.Choice(["jsonl", "csv", "tsv", "parquet", "txt"])
"""What data is read as, where its name does not tell."""


recipe_options = _stack(
    click.option("--system", metavar="TEXT|@FILE", help="With a template: the system prompt of every request."),
    click.option("--schema", metavar="FILE", help="With a template: a JSON schema that answers are asked to follow."),
    click.option("--id", "id_column", metavar="COLUMN", help="With a template: the column that names each request."),
    click.option(
        "--keep", multiple=True, metavar="COLUMNS", help="With a template: columns that come back: title,year, or '*'."
    ),
    click.option(
        "--format",
        "form",
        type=DATA,
        help="With a template: what the data is, where its name does not tell.",
    ),
)

aim_options = _stack(
    click.option("--model", "lane_model", metavar="ID", help="A model, in all jobs."),
    click.option(
        "--provider", "lane_provider", metavar="NAME", help="A provider, in all jobs; with --model, its model."
    ),
)

pause_options = _stack(
    click.option(
        "--on-pause",
        type=click.Choice(["wait", "exit"]),
        help="What a pause does.  [default: wait for outages and quotas, exit for key, credit and model]",
    ),
    click.option(
        "--until", metavar="WHEN", help="End at the next 06:30, or at 2026-03-01T06:30; the rest stays queued."
    ),
    click.option("--for", "run_for", type=DURATION, help="End after so long: 6h, 90m."),
    click.option("--give-up-after", type=DURATION, help="End when an outage or a pause lasts longer: 2h."),
    click.option("--poll-for", type=DURATION, help="Give up a provider's job, such as a video, after: 6h."),
    click.option("--row-timeout", type=DURATION, help="Give up a row that keeps failing for so long: 30m."),
    click.option("--notify", metavar="CMD|URL", help="Tell of pauses and of the end: JSON on stdin, or by POST."),
)

judging_options = _stack(
    click.option(
        "--repair",
        type=COUNT,
        help="Ask again, at most so often, where an answer is not the JSON that was asked for; each costs a call.",
    ),
    click.option(
        "--raise-cap", metavar="FACTOR", help="Ask once more, with a higher max_tokens, for answers cut off: 2x."
    ),
)

wait_option = _stack(
    click.option("--wait", is_flag=True, help="Queue behind the runner that holds the database."),
    click.option("--db-timeout", metavar="TIME", help="Wait for another program in the database.  [default: 60s]"),
    click.option("--unsafe-fs", is_flag=True, help="Work on a network file system, at your own risk."),
    click.option("--accept-older", is_flag=True, help="Go on from an older copy of the database."),
    click.option("--any-owner", is_flag=True, help="Write to a database of another user."),
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")

SETTING_FLAGS = (
    "db", "config", "yes", "no_input", "quiet", "verbose", "debug", "progress", "color", "provider", "base_url",
    "concurrency", "rpm", "tpm", "endpoint", "model", "settings", "tags", "limit", "sample", "on_pause",
    "max_cost", "assume_price", "assume_output",
    "repair", "raise_cap", "until", "run_for", "give_up_after", "row_timeout", "poll_for", "notify",
    "db_timeout", "unsafe_fs", "accept_older",
    "api_key_file", "ca_file", "no_proxy", "max_response", "any_owner", "idle_timeout", "keep_partial", "stream",
    "attachments", "dedupe", "tokenizer",
)  # fmt: skip
"""Flags that are settings; the others are a verb's own."""


def verb(*, several: bool = False, **attributes: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command that takes the options of every verb and gets the settings as its first argument.

    ``several``: it reads any number of databases; the paths of the others than the first are its argument ``more``.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
        @wraps(function)
        def run(**given: Any) -> Any:
            if several:
                given["db"], *more = given["db"] or (None,)
                given["more"] = tuple(more)
            flags = {name: given.pop(name) for name in SETTING_FLAGS if name in given}
            loaded = load_here(flags)
            _announce(loaded)
            return function(loaded, **given)

        which = _several_dbs if several else _one_db
        command: click.Command = click.command(**attributes)(which(_everywhere(run)))
        return command

    return decorate


def _announce(loaded: Loaded) -> None:
    context = click.get_current_context(silent=True)
    if context is not None and loaded.settings.color != "auto":
        context.color = loaded.settings.color == "always"
    if not loaded.settings.quiet:
        for note in (*loaded.notes, leaks(os.environ), _on_the_way(loaded, context)):
            talk(f"note: {note}", quiet=note is None)


def _on_the_way(loaded: Loaded, context: click.Context | None) -> str | None:
    """Name the proxy that a verb's calls go through: whoever set the variable sees where they go, and when."""
    if context is None or context.info_name not in ("run", "models") or loaded.settings.no_proxy:
        return None
    host = loaded.settings.provider_named(loaded.settings.provider).base_url
    proxy = proxy_label(host)
    return proxy and f"{host_label(host)} is reached through the proxy {proxy} (--no-proxy goes past it)"


def interactive(loaded: Loaded) -> bool:
    """Return whether a person can be asked."""
    return not loaded.settings.no_input and sys.stdin.isatty() and sys.stderr.isatty()
