"""Embedding for programs: a corpus into the queue, for both faces of it."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from batchrunner.api.corpora import corpus_options, open_texts
from batchrunner.api.session import Session
from batchrunner.core.job import Job
from batchrunner.formats.texts import TextFields
from batchrunner.runner.corpusfill import TooLong

T = TypeVar("T")


class Embedding:
    """The part of a queue that is about corpora."""

    async def embed(  # noqa: PLR0913 - what can be asked for
        self,
        source: str | PathLike[str],
        *,
        model: str | None = None,
        name: str | None = None,
        text: str = "text",
        id_column: str | None = None,
        keep: Sequence[str] = (),
        dimensions: int | None = None,
        normalize: bool = False,
        too_long: TooLong = "error",
        apart: bool = False,
        form: str | None = None,
    ) -> Job:
        """Queue the texts of a source that are new in its corpus, and return the corpus' job: ``run`` embeds them, and
        ``export`` writes all vectors to .parquet, .npy, .arrow or .jsonl.

        ``source`` is a file by its suffix or as ``form`` (jsonl, csv, tsv, parquet, txt), or a folder of text files.
        ``text`` and ``id_column`` name its columns, ``keep`` those that come along (``("*",)``: all). ``name`` is what
        the corpus is known by, the source's unless given. ``too_long``: error, truncate or chunk; ``apart``: chunks
        keep vectors of their own. Raises InputError, ConfigurationError.
        """
        fields = TextFields(text=text, id=id_column, keep=tuple(keep))
        asked = partial(corpus_options, model=model, dimensions=dimensions, normalize=normalize, too_long=too_long)

        def load(held: Session) -> Job:
            options = asked(held.settings, name or Path(source).stem, apart=apart)
            with open_texts(str(source), fields, form=form) as texts:
                return held.embed(texts, options).job

        return await self._writing(load)

    async def _writing(self, act: Callable[[Session], T]) -> T:
        """Do something with a held database."""
        raise NotImplementedError


class BlockingEmbedding:
    """The same for programs that do not await."""

    def __init__(self, queue: Embedding) -> None:
        self._embedding = queue

    def embed(self, source: str | PathLike[str], **asked: Any) -> Job:
        """See ``Queue.embed``."""
        return self._wait(partial(self._embedding.embed, source, **asked))

    def _wait(self, call: Callable[[], Awaitable[T]]) -> T:
        """Wait for a call of the queue that awaits."""
        raise NotImplementedError
