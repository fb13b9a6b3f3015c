"""``embed``: a corpus to vectors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from batchrunner.api import ExportSummary, Job, Session, session
from batchrunner.api.corpora import bytes_of_vectors, open_texts
from batchrunner.cli.hangup import Hangup
from batchrunner.cli.options import (
    interactive,
    limit_options,
    money_options,
    pause_options,
    provider_options,
    verb,
    wait_option,
)
from batchrunner.cli.outcome import export_all, tell_outcome, tell_rescue
from batchrunner.cli.params import COUNT, TAG
from batchrunner.cli.recipes import columns_of
from batchrunner.cli.render import talk
from batchrunner.cli.run import standing, work
from batchrunner.cli.text import plural
from batchrunner.config import Loaded
from batchrunner.core.errors import ConfigurationError, ExitCode
from batchrunner.core.packing import limits
from batchrunner.formats.export_vectors import check_form
from batchrunner.formats.texts import TextFields
from batchrunner.runner.corpusfill import CorpusLoaded, CorpusOptions


@verb()
@click.argument("source", metavar="SRC")
@click.option("-o", "--output", metavar="OUT", required=True, help="Where the vectors go; texts that failed beside it.")
@click.option("--force", is_flag=True, help="Replace an output that this corpus did not write.")
@click.option("--model", metavar="ID", help="The embedding model.")
@click.option("--text", metavar="COLUMN", default="text", show_default=True, help="The column that is embedded.")
@click.option(
    "--id", "id_column", metavar="COLUMN", help="The column that names each text.  [default: line, row or path]"
)
@click.option("--keep", metavar="COLUMNS", multiple=True, help="Columns to carry along: title,year, or '*'.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "tsv", "parquet", "txt"]),
    help="What SRC is, where its name does not tell.",
)
@click.option("--name", metavar="NAME", help="Name of the corpus: the same one grows.  [default: OUT's]")
@click.option("--tag", "tags", type=TAG, multiple=True, help="Label the corpus for its costs: team=search.")
@click.option("--dimensions", type=COUNT, help="Ask for vectors of this length, of models that can.")
@click.option("--normalize", is_flag=True, help="Bring vectors to length 1.")
@click.option(
    "--too-long",
    type=click.Choice(["error", "truncate", "chunk"]),
    default="error",
    show_default=True,
    help="What becomes of a text that the model can't take whole.",
)
@click.option(
    "--chunks", type=click.Choice(["mean", "apart"]), default="mean", help="One vector for all chunks, or each."
)
@click.option("--pack", type=COUNT, help="Texts in a request at most.  [default: what the provider is known to take]")
@click.option("--pack-tokens", type=COUNT, help="Tokens in a request at most.")
@click.option("--text-tokens", type=COUNT, help="Tokens in a text at most.  [default: what the model is known to take]")
@click.option("--prune", is_flag=True, help="Drop the vectors of texts that are gone from SRC.")
@click.option(
    "--keep-vectors",
    type=click.Choice(["yes", "no"]),
    default="yes",
    show_default=True,
    help="no: drop them from the database once all of them are in OUT; the corpus can't grow then.",
)
@provider_options
@limit_options
@money_options
@pause_options
@wait_option
def command(
    loaded: Loaded,
    *,
    source: str,
    output: str,
    force: bool,
    prune: bool,
    keep_vectors: str,
    wait: bool,
    **asked: Any,
) -> int:
    """Embed a corpus: texts in, vectors out.

    SRC is CSV, TSV, JSON Lines, Parquet, plain lines (column `text`), a folder of text files (columns `path` and
    `text`), or - for standard input (JSON Lines, or --format csv). OUT is .parquet, .npy, .arrow, .jsonl, or - for JSON
    Lines on standard output.

    Texts are sent many to a request, and identical ones once. A request that is refused is searched for the text at
    fault; all others get their vectors. Running it again continues; where SRC has grown or changed, only what is new
    is sent.

    \b
    Examples:
      batchrunner embed docs.csv -o vectors.parquet --model BAAI/bge-base-en-v1.5 --text body --id isbn --keep year
      batchrunner embed notes/ -o vectors.npy --model text-embedding-3-small --provider openai --dimensions 512
      batchrunner embed docs.parquet -o vectors.parquet --model intfloat/multilingual-e5-large-instruct --too-long chunk
    """
    options = _options(loaded, output, asked)
    fields = TextFields(text=asked["text"], id=asked["id_column"], keep=columns_of(asked["keep"]))
    check_form(output)
    hangup = Hangup(loaded.settings.db)
    hangup.expect()
    with session(loaded, wait=wait) as held:
        tell_rescue(held)
        with open_texts(source, fields, form=asked["form"]) as texts:
            corpus = held.embed(texts, options)
        job = corpus.job
        held.check_target(job, output, force=force)
        _tell_loaded(loaded, corpus)
        _refuse_without_room(held, corpus, options)
        report = work(held, [job], hangup)
        if prune:
            talk(f"dropped {plural(held.prune(job), 'vector')}", quiet=loaded.settings.quiet)
        outputs = export_all(held, [job], output, force=force)
        if keep_vectors == "no":
            _drop(held, job, outputs)
        tell_outcome(held, [job], report, outputs, output)
        code = report.exit_code if report is not None else standing(held, [job])
        return code or (ExitCode.SOME_FAILED if too_long(held, job) else ExitCode.OK)


def _drop(held: Session, job: Job, outputs: Sequence[ExportSummary]) -> None:
    """Drop the vectors that were written, unless some are still to come, or stdout took them: who knows where to."""
    (written,) = outputs
    if written.out == "-" or written.unfinished:
        talk("the vectors are kept in the database: not all of them are in a file yet", quiet=held.settings.quiet)
        return
    held.drop_vectors(job)
    talk(f"dropped the vectors from the database: they are in {written.out} only", quiet=held.settings.quiet)


def too_long(held: Session, job: Job) -> bool:
    """Whether texts were left out that the model can't take: that is a failure, though nothing was sent."""
    texts = held.with_texts(held.status(job)).texts
    return texts is not None and texts.too_long > 0


def _options(loaded: Loaded, output: str, asked: dict[str, Any]) -> CorpusOptions:
    settings = loaded.settings
    model = settings.job.model
    if model is None:
        raise ConfigurationError("no model was named", hint="--model BAAI/bge-base-en-v1.5")
    name = asked["name"] or Path(output).stem
    if output == "-" and asked["name"] is None:
        raise ConfigurationError("a corpus that goes to standard output needs a name", hint="--name NAME")
    bounds = limits(
        settings.provider,
        model,
        asked["dimensions"],
        texts=asked["pack"],
        tokens=asked["pack_tokens"],
        text_tokens=asked["text_tokens"],
    )
    return CorpusOptions(
        name=name,
        provider=settings.provider,
        model=model,
        limits=bounds,
        dimensions=asked["dimensions"],
        normalize=asked["normalize"],
        too_long=asked["too_long"],
        apart=asked["chunks"] == "apart",
        tags=settings.tags,
    )


def _tell_loaded(loaded: Loaded, corpus: CorpusLoaded) -> None:
    job = corpus.job
    if corpus.unchanged:
        talk(f"corpus {job.name} has these {plural(corpus.texts, 'text')} already", quiet=loaded.settings.quiet)
        return
    others = {
        "known": corpus.known, "duplicates": corpus.duplicates, "empty": corpus.empty, "too long": corpus.too_long,
        "truncated": corpus.truncated,
    }  # fmt: skip
    told = [f"{number:,} {name}" for name, number in others.items() if number]
    packs = plural(corpus.packs, "request")
    talk(
        f"corpus {job.name}: {plural(corpus.texts, 'text')}, {corpus.sent:,} to send in {packs}"
        + "".join(f", {each}" for each in told),
        quiet=loaded.settings.quiet,
    )


def _refuse_without_room(held: Session, corpus: CorpusLoaded, options: CorpusOptions) -> None:
    """Ask where the disk will probably not hold the vectors, and refuse where nobody can be asked."""
    short = held.short_of_room(held.estimate([corpus.job]), bytes_of_vectors(corpus, options))
    if short is None:
        return
    talk(f"warning: {short}")
    if not interactive(held.loaded) or not click.confirm("Begin anyway?", err=True):
        raise ConfigurationError(
            "nothing was sent; the texts stay queued",
            hint="make room, put the database elsewhere with --db, or ask for shorter vectors with --dimensions",
        )
