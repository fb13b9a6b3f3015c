"""Vectors in plain files: a NumPy array with the ids beside it, and lines of JSON."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from batchrunner.core.errors import DatabaseError
from batchrunner.core.vectors import VectorBatch
from batchrunner.formats.export_vectors_arrow import Batches
from batchrunner.formats.export_vectors_base import Shard, VectorFacts, VectorSummary, Written, checked, gathered
from batchrunner.formats.export_vectors_targets import check_files
from batchrunner.formats.replace import Replacement, begins_and_ends, disk_error, is_regular, sweep

ALIGNED = 64
"""Bytes: a NumPy header is a multiple of it, so that the numbers can be mapped into memory."""
LINES = 1 << 20
"""Bytes of vectors whose lines are made at once: as text they are three times as long."""
MOST_FACTS = 1 << 16
"""Bytes of a file of facts that are read."""
_encode = msgspec.json.Encoder().encode


def npy_header(count: int, dimensions: int) -> bytes:
    """Return the header of a C-contiguous little-endian float32 array of this shape, NumPy's format 1.0."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, {dimensions}), }}"
    length = -(-(10 + len(text) + 1) // ALIGNED) * ALIGNED - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.ljust(length - 1).encode() + b"\n"


class NpyWriter:
    """``vectors.npy``, ``vectors.ids.jsonl`` (id and kept columns, line by line) and ``vectors.facts.json``.

    An array has no room for facts, so they have a file, which also tells whose the two others are. It is put in place
    first and the array last, the older array having been removed before: where an array is, the rest belongs to it.
    """

    def __init__(self, out: Path, facts: VectorFacts) -> None:
        self._out = out
        self._facts = facts
        self._ids = out.with_name(f"{out.stem}.ids.jsonl")
        self._about = out.with_name(f"{out.stem}.facts.json")

    def check(self, *, force: bool) -> None:
        """Raise ConfigurationError where one of the files stands there that this job did not write."""
        check_files([self._out, self._ids, self._about], self._is_ours, force=force)

    def done(self) -> int:
        """Return 0: the files are always written as a whole."""
        return 0

    def write(self, batches: Iterable[VectorBatch], start: int, written: Written) -> VectorSummary:
        """Write the three files; nothing is replaced where the vectors are not as many as they should be."""
        facts, paths = self._facts, [self._out, self._ids, self._about]
        swept = sum(map(sweep, paths))
        with ExitStack() as stack:
            array, ids, about = (stack.enter_context(Replacement(path)) for path in paths)
            try:
                array.file.write(npy_header(facts.count, facts.dimensions))
                for batch in checked(batches, facts, start):
                    array.file.write(batch.vectors)
                    ids.file.writelines(b'{"id":%b%b}\n' % each for each in _named(batch))
                about.file.write(self._said({self._out: array.file.tell(), self._ids: ids.file.tell()}))
                array.sync()
                ids.sync()
            except OSError as error:
                raise disk_error(self._out, error) from error
            about.commit()
            self._out.unlink(missing_ok=True)
            ids.commit()
            array.commit()
        written(Shard(self._out, 0, facts.count))
        return VectorSummary(paths=(str(self._out), str(self._ids)), rows=facts.count, fresh=facts.count, swept=swept)

    def _said(self, sizes: dict[Path, int]) -> bytes:
        """Return the file of facts: with the sizes of both files, and of those in whose place they will come."""
        replaced = {path: path.stat().st_size for path in sizes if is_regular(path)}
        said: dict[str, Any] = {
            name.removeprefix("batchrunner."): value
            for name, value in self._facts.described(0, self._facts.count).items()
        }
        said |= {"dimensions": self._facts.dimensions, "count": self._facts.count, "first_row": 0, "dtype": "<f4"}
        said["bytes"] = {path.name: [size, replaced.get(path, size)] for path, size in sizes.items()}
        return json.dumps({"batchrunner": said}, ensure_ascii=False, indent=1).encode("utf-8", "replace") + b"\n"

    def _is_ours(self, path: Path) -> bool:
        said = self._about_now()
        if said.get("job") != self._facts.job:
            return False
        sizes = said.get("bytes")
        return path == self._about or (isinstance(sizes, dict) and path.stat().st_size in sizes.get(path.name, ()))

    def _about_now(self) -> dict[str, Any]:
        if not is_regular(self._about):
            return {}
        try:
            with self._about.open("rb") as file:
                said = json.loads(file.read(MOST_FACTS))["batchrunner"]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return {}
        return said if isinstance(said, dict) else {}


class VectorLines:
    """Lines ``{"id":...,"embedding":[...],...}``: the kept columns as they are, and floats in their shortest form.

    The shortest decimal that reads back as the same float32. Each line ends with the facts, which tell whose it is.
    """

    def __init__(self, facts: VectorFacts) -> None:
        """Raise ConfigurationError where pyarrow is not installed."""
        self._batches = Batches(facts)
        said = {"model": facts.model, "dimensions": facts.dimensions, "version": facts.version}
        self.mark = b',"job":' + _encode(facts.job) + b"}}\n"
        self._end = b'],"batchrunner":' + _encode(said)[:-1] + self.mark

    def of(self, batch: VectorBatch) -> Iterator[bytes]:
        """Yield the lines of a batch. Raises DatabaseError for NaN."""
        for (name, kept), numbers in zip(_named(batch), self._texts(batch), strict=True):
            yield b'{"id":%b%b,"embedding":[%b%b' % (name, kept, numbers.encode(), self._end)

    def _texts(self, batch: VectorBatch) -> list[str]:
        """Return the numbers of each vector with commas between them. Raises DatabaseError for NaN."""
        import pyarrow as pa
        import pyarrow.compute as pc

        flat = self._batches.vectors(batch).flatten()
        if not pc.all(pc.is_finite(flat)).as_py():
            raise DatabaseError(
                "a vector holds a number that is not finite", hint="see what `batchrunner db check` finds"
            )
        texts = pc.cast(flat, pa.string())
        texts = pc.if_else(pc.equal(texts, "-0"), "-0.0", texts)  # as an integer it would lose its sign
        dimensions = batch.dimensions
        places = pa.array(range(0, len(texts) + 1, dimensions), pa.int32())
        joined: list[str] = pc.binary_join(pa.ListArray.from_arrays(places, texts), ",").to_pylist()
        return joined


class JsonlWriter:
    """A file of such lines, replaced as a whole."""

    def __init__(self, out: Path, facts: VectorFacts) -> None:
        self._out = out
        self._facts = facts
        self._lines = VectorLines(facts)

    def check(self, *, force: bool) -> None:
        """Raise ConfigurationError where a file stands in the way that this job did not write."""
        check_files([self._out], lambda path: begins_and_ends(path, b"", self._lines.mark), force=force)

    def done(self) -> int:
        """Return 0: the file is always written as a whole."""
        return 0

    def write(self, batches: Iterable[VectorBatch], start: int, written: Written) -> VectorSummary:
        """Write the file; nothing is replaced where the vectors are not as many as they should be."""
        facts = self._facts
        swept = sweep(self._out)
        with Replacement(self._out) as part:
            try:
                for batch in gathered(checked(batches, facts, start), LINES):
                    part.file.writelines(self._lines.of(batch))
            except OSError as error:
                raise disk_error(self._out, error) from error
            part.commit()
        written(Shard(self._out, 0, facts.count))
        return VectorSummary(paths=(str(self._out),), rows=facts.count, fresh=facts.count, swept=swept)


def _named(batch: VectorBatch) -> Iterator[tuple[bytes, bytes]]:
    """Yield each id as JSON, and what is kept of its columns as it stands behind it."""
    for name, kept in zip(batch.ids, batch.kept, strict=True):
        yield _encode(name), b"," + kept[1:-1] if len(kept) > 2 else b""
