"""``report``: the costs as one HTML page."""

import click

from batchrunner.cli.options import verb
from batchrunner.cli.render import talk
from batchrunner.cli.text import plural
from batchrunner.config import Loaded
from batchrunner.core.clock import DAY, SystemClock
from batchrunner.core.slices import period, within


@verb(several=True)
@click.option(
    "-o", "--output", metavar="OUT", default="report.html", show_default=True, help="A file, or - for stdout."
)
@click.option("--since", "first", metavar="DAY", help="From this day or month on: 2026-11-05, 2026-11, yesterday.")
@click.option("--until", "last", metavar="DAY", help="Up to this day or month, which is counted too.")
@click.option("--tz", "zone", metavar="ZONE", default="UTC", show_default=True, help="Where days begin: Europe/Berlin.")
@click.option("--force", is_flag=True, help="Replace a file that is no report.")
def command(
    loaded: Loaded, *, more: tuple[str, ...], output: str, first: str | None, last: str | None, zone: str, force: bool
) -> None:
    """Write what it cost as one HTML page, with charts: by day, model, job, endpoint and tag; pace, latency, failures.

    The page needs nothing else, no network and no script: attach it to a mail, print it, keep it. Its sums are those of
    `batchrunner costs`. It only reads, also beside a live run. Give --db several times to read databases as one.

    \b
    Examples:
      batchrunner report
      batchrunner report --since 2026-11 --until 2026-11 -o november.html
      batchrunner report --db search.db --db ads.db --tz Europe/Berlin -o all.html
    """
    from batchrunner.api.report import write_report

    today = SystemClock().now() // DAY
    since = None if first is None else _day("--since", first, today)[0]
    until = None if last is None else _day("--until", last, today)[1]
    written = write_report(loaded, output, more=more, within=within(since, until, tz=zone), force=force)
    size = f"{plural(written.calls, 'call')}, {written.size / 1000:,.0f} kB"
    talk(f"{written.out}: {size}" if written.out != "-" else size, quiet=loaded.settings.quiet)


def _day(flag: str, text: str, today: int) -> tuple[int, int]:
    try:
        return period(text, today)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=flag) from None
