"""``embed``: a corpus to vectors."""

from pathlib import Path
from typing import Any

import click

from batchrunner.api import ExportSummary, Job, JobStatus, Session, session
from batchrunner.api.corpora import corpus_options, open_texts
from batchrunner.api.room import vector_room
from batchrunner.cli.hangup import Hangup
from batchrunner.cli.options import (
    DATA,
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
from batchrunner.cli.room import on_one_disk, told
from batchrunner.cli.run import work
from batchrunner.cli.text import command_line, plural
from batchrunner.config import Loaded
from batchrunner.core.errors import ConfigurationError, ExitCode
from batchrunner.core.packing import PackBounds
from batchrunner.formats.export_vectors import check_form
from batchrunner.formats.texts import TextFields
from batchrunner.runner.corpusfill import CorpusLoaded, CorpusOptions
from batchrunner.store.disk import Disk


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
    type=DATA,
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
@click.option(
    "--tokenizer", metavar="FILE", help="The model's tokenizer.json: counts tokens exactly, instead of a guess."
)
@click.option("--prune", is_flag=True, help="Drop texts that are gone from SRC, and their vectors.")
@click.option(
    "--keep-vectors",
    type=click.Choice(["yes", "no"]),
    default="yes",
    show_default=True,
    help="no: drop them from the database as they are written, Parquet in numbered files; the corpus can't grow then.",
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
            held.check_output(texts, options, output, force=force)
            corpus = held.embed(texts, options)
        job = corpus.job
        held.check_target(job, output, force=force)  # again: only now it is known how many shards there will be
        _tell_loaded(loaded, corpus)
        _refuse_without_room(held, job, output)
        if prune:
            dropped = plural(held.prune(job), "vector")
            talk(f"dropped {dropped}, and all texts that are gone from {source}", quiet=loaded.settings.quiet)
        report = work(held, [job], hangup)
        outputs = _export(held, corpus, output, force=force, keep=keep_vectors == "yes")
        (status,) = tell_outcome(held, [job], report, outputs, output)
        code = report.exit_code if report is not None else ExitCode.OK
        return standing_of_texts(status) if code in (ExitCode.OK, ExitCode.SOME_FAILED) else code


def _export(held: Session, corpus: CorpusLoaded, output: str, *, force: bool, keep: bool) -> list[ExportSummary]:
    """Write the vectors; drop them as well if that was asked for, now or when this was begun."""
    job, quiet = corpus.job, held.settings.quiet
    if keep and not corpus.corpus.leaving:
        return export_all(held, [job], output, force=force)
    written, dropped = held.leave(job, output, force=force)
    if not dropped:
        talk("the vectors are kept in the database: not all of them are in a file yet", quiet=quiet)
        return [written]
    talk(f"dropped the vectors from the database: they are in {written.out} only", quiet=quiet)
    copy = command_line(held.loaded, "db", "backup", "COPY")
    talk(
        f"  the file keeps its size, for what comes later; {copy} makes a small one, to be put in its place",
        quiet=quiet,
    )
    return [written]


def standing_of_texts(status: JobStatus) -> ExitCode:
    """Return the exit code by what became of the texts that are in the source now.

    One that the model can't take is a failure too, though nothing was sent; one that was refused is none any more once
    it was mended or is gone from the source.
    """
    texts = status.texts
    return ExitCode.SOME_FAILED if texts is not None and texts.failed + texts.too_long else ExitCode.OK


def _options(loaded: Loaded, output: str, asked: dict[str, Any]) -> CorpusOptions:
    if output == "-" and asked["name"] is None:
        raise ConfigurationError("a corpus that goes to standard output needs a name", hint="--name NAME")
    return corpus_options(
        loaded.settings,
        asked["name"] or Path(output).stem,
        dimensions=asked["dimensions"],
        normalize=asked["normalize"],
        too_long=asked["too_long"],
        apart=asked["chunks"] == "apart",
        bounds=PackBounds(asked["pack"], asked["pack_tokens"], asked["text_tokens"]),
    )


def _tell_loaded(loaded: Loaded, corpus: CorpusLoaded) -> None:
    job = corpus.job
    if corpus.unchanged:
        talk(f"corpus {job.name} has these {plural(corpus.texts, 'text')} already", quiet=loaded.settings.quiet)
        return
    others = {
        "known": corpus.known, "empty": corpus.empty, "too long": corpus.too_long, "truncated": corpus.truncated,
    }  # fmt: skip
    told = [plural(corpus.duplicates, "duplicate")] if corpus.duplicates else []
    told += [f"{number:,} {name}" for name, number in others.items() if number]
    packs = plural(corpus.packs, "request")
    talk(
        f"corpus {job.name}: {plural(corpus.texts, 'text')}, {corpus.sent:,} to send in {packs}"
        + "".join(f", {each}" for each in told),
        quiet=loaded.settings.quiet,
    )


def _refuse_without_room(held: Session, job: Job, output: str) -> None:
    """Say what the vectors will take, ask where the disks will probably not hold them, and refuse where nobody can be
    asked.
    """
    room = vector_room(held, held.settings, job, output)
    if room is None or not room.database:
        return
    db, out = held.settings.db, Path(held.settings.db if output == "-" else output)
    talk(f"vectors: {told(room, db, out)}", quiet=held.settings.quiet)
    shared = on_one_disk(db, out)
    short = held.short_of_room(held.estimate([job]), room.database + (room.export if shared else 0))
    if short is None and not shared:
        short = Disk(str(out)).short(room.export)
    if short is None:
        return
    talk(f"warning: {short}")
    if not interactive(held.loaded) or not click.confirm("Begin anyway?", err=True):
        raise ConfigurationError(
            "nothing was sent; the texts stay queued",
            hint="make room, put the database elsewhere with --db, or ask for shorter vectors with --dimensions",
        )
