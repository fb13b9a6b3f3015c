"""``simulate``: a provider in a box, on loopback."""

import os
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click

from batchrunner.cli.options import verb
from batchrunner.cli.params import COUNT, DURATION, RATE, Parsed
from batchrunner.cli.render import exact, talk
from batchrunner.cli.text import count, duration, plural
from batchrunner.config import Loaded, parse_duration
from batchrunner.core.errors import ConfigurationError, ExitCode

if TYPE_CHECKING:
    from batchrunner.simulator import Provider, Settings

KEPT = 100_000
"""Entries of the ledger that are held in memory; totals stay exact, and a file holds all of them."""


def _window(text: str) -> tuple[float, float]:
    """Read ``30s-2m``: seconds after the start. Raises ValueError."""
    begin, _, end = text.partition("-")
    window = parse_duration(begin), parse_duration(end)
    if window[0] >= window[1]:
        raise ValueError(f"{text}: it ends before it begins; write it like 30s-2m")
    return window


WINDOW = Parsed("from-to", _window)
"""Seconds from and to: ``30s-2m``."""


@verb()
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Loopback only.")
@click.option("--port", type=click.IntRange(0, 65535), default=8700, show_default=True, help="0 picks a free one.")
@click.option("--flavour", type=click.Choice(["together", "openai"]), default="together", show_default=True)
@click.option("--latency", type=DURATION, default="0s", help="Mean time until an answer starts: 300ms.")
@click.option("--tokens-per-second", type=RATE, help="Output tokens add to the latency at this pace.")
@click.option("--rpm", "requests_per_minute", type=RATE, help="Requests a minute for each model; more get 429.")
@click.option("--tpm", "tokens_per_minute", type=RATE, help="Tokens a minute for each model; more get 429.")
@click.option("--capacity", type=COUNT, help="More calls in flight than this get 503.")
@click.option("--faults", metavar="KIND=RATE,...", default="", help="What goes wrong, and how often: 429=0.05,500=2%.")
@click.option("--seed", type=int, default=0, help="Another seed, other faults; the same seed, the same.")
@click.option("--models", metavar="ID", multiple=True, help="Only this model exists; may be repeated.")
@click.option("--missing-model", "missing", metavar="ID", multiple=True, help="This model gets 404; may be repeated.")
@click.option("--api-key-env", metavar="NAME", help="The only key taken is in this variable.  [default: any key]")
@click.option("--keyless", is_flag=True, help="Nobody needs a key, as with a server of your own.")
@click.option("--credit-calls", type=COUNT, help="The account is empty after so many billed calls.")
@click.option("--revoke-after", type=COUNT, help="The key is refused after so many calls.")
@click.option(
    "--outage",
    "outages",
    metavar="FROM-TO",
    type=WINDOW,
    multiple=True,
    help="Nothing works then: 30s-2m; may be repeated.",
)
@click.option(
    "--outage-kind",
    type=click.Choice(["503", "refused"]),
    default="503",
    show_default=True,
    help="Every call gets 503, or no connection is accepted.",
)
@click.option(
    "--ledger", metavar="FILE", type=click.Path(path_type=Path), help="Write every call there, as JSON lines."
)
def command(loaded: Loaded, **given: Any) -> int:
    """Serve Together's or OpenAI's API on this machine: with limits, faults and a ledger, and without any bill.

    The first line on stdout is its URL. It runs until Ctrl-C, and then shows what it served. While it runs,
    URL/_sim/stats and URL/_sim/ledger show the same.

    \b
    Examples:
      batchrunner simulate
      batchrunner simulate --latency 300ms --rpm 600 --faults 429=0.05,500=0.02
      batchrunner simulate --faults stray=0.01,drip=0.001 --outage 30s-2m
      batchrunner simulate --flavour openai --port 0 --credit-calls 100 --ledger calls.jsonl
    """
    from batchrunner.simulator import Ledger, Provider

    host, port, path = given.pop("host"), given.pop("port"), given.pop("ledger")
    key_env = given.pop("api_key_env")
    settings = _settings(given, _key(key_env))
    try:
        ledger = Ledger(path, keep=KEPT)
    except OSError as error:
        raise ConfigurationError(f"can't write {path}: {error.strerror}", hint="give another --ledger") from error
    provider = Provider(settings, ledger=ledger)
    anyio.run(partial(_serve, provider, host, port, key_env, quiet=loaded.settings.quiet))
    return ExitCode.OK


def _settings(given: dict[str, Any], key: str | None) -> "Settings":
    from batchrunner.simulator import Settings, parse_faults

    models, missing, faults = given.pop("models"), given.pop("missing"), given.pop("faults")
    try:
        return Settings(
            **given, api_key=key, models=models or None, missing_models=missing, faults=parse_faults(faults)
        )
    except ValueError as error:
        raise ConfigurationError(f"the simulator can't do that: {error}", hint="batchrunner simulate --help") from None


def _key(name: str | None) -> str | None:
    if name is None:
        return None
    if not os.environ.get(name):
        raise ConfigurationError(f"{name} is not set", hint=f"export {name}=..., or leave --api-key-env out")
    return os.environ[name]


async def _serve(provider: "Provider", host: str, port: int, key_env: str | None, *, quiet: bool) -> None:
    """Serve until Ctrl-C or SIGTERM; calls in flight are cut."""
    import signal

    from batchrunner.simulator import serve

    async with AsyncExitStack() as stack:
        signals = stack.enter_context(anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM))
        try:
            url = await stack.enter_async_context(serve(provider, host, port))
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"can't listen on {host}:{port}: {getattr(error, 'strerror', None) or error}",
                hint="pick another --port; 0 takes a free one",
            ) from error
        click.echo(url)
        for line in _introduction(url, provider.settings.flavour, key_env):
            talk(line, quiet=quiet)
        await anext(aiter(signals))
    for line in _summary(provider):
        talk(line, quiet=quiet)


def _introduction(url: str, flavour: str, key_env: str | None) -> list[str]:
    name = flavour.upper()
    key = "anything" if key_env is None else f'"${key_env}"'
    provider = "" if flavour == "together" else f" --provider {flavour}"
    return [
        "In another terminal:",
        f"  export {name}_API_KEY={key}",
        f"  export {name}_BASE_URL={url}/v1",
        f"  batchrunner run jobs/quickstart.jsonl -o out.jsonl{provider} --yes",
        "Ctrl-C ends it.",
    ]


def _summary(provider: "Provider") -> list[str]:
    stats = provider.ledger.stats()
    statuses = ", ".join(
        f"{number:,} x {'nothing' if status == '0' else status}" for status, number in stats["statuses"].items()
    )
    faults = ", ".join(f"{number:,} x {fault}" for fault, number in stats["faults"].items())
    tokens = f"{count(stats['input_tokens'])} tokens in, {count(stats['output_tokens'])} out"
    return [
        f"served {plural(stats['requests'], 'call')} in {duration(provider.now() - provider.started)}",
        *([f"  answered: {statuses}"] if statuses else []),
        *([f"  faults:   {faults}"] if faults else []),
        f"  billed:   {plural(stats['billed'], 'call')}, {tokens}{_bill(stats)}",
        f"  at once:  {plural(stats['highest_concurrency'], 'call')} at most",
        f"  twice:    {plural(stats['repeated_calls'], 'repeat')} of a body that was processed before",
    ]


def _bill(stats: dict[str, Any]) -> str:
    """Return what that would cost; calls of models without a price are counted beside it."""
    unpriced = f" and {plural(stats['unpriced'], 'call')} without a price" if stats["unpriced"] else ""
    return f", ${exact(sum(stats['pico_usd'].values()))}{unpriced}"
