"""Whether Parquet shards hold a corpus of `corpus.py` in its order, each row with its text's own vector, bit for bit.

Started by embeddings.py; exits 1 and names the first row that is wrong. Reads a few thousand rows at a time.
"""

import argparse
import base64
import sys
from collections.abc import Iterator
from pathlib import Path

from corpus import corpus
from vectorserver import DIMENSIONS, vector_of


def rows(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield id and float32 bytes of every row, shards in the order of their names."""
    from pyarrow import parquet

    for shard in sorted(folder.rglob("*.parquet")):
        for batch in parquet.ParquetFile(shard).iter_batches(batch_size=4096):
            at = next(n for n, field in enumerate(batch.schema) if "fixed_size_list" in str(field.type))
            numbers, width = batch.column(at).flatten(), batch.schema.field(at).type.list_size * 4
            data = memoryview(numbers.buffers()[1]).cast("B")[numbers.offset * 4 :]
            for number, name in enumerate(batch.column("id").to_pylist()):
                yield name, bytes(data[number * width :][:width])


def vector_by(server: str, model: str, text: str) -> bytes:
    """Return the float32 bytes that a server gives a text; the simulator's depend on the model too."""
    if server == "raw":
        return vector_of(text, DIMENSIONS)
    from batchrunner.simulator.vectors import packed

    return base64.b64decode(packed(model, text, DIMENSIONS))


def wrong(folder: Path, texts: int, server: str, model: str) -> str:
    """Return what is wrong first; empty if nothing is."""
    asked, found, count = corpus(texts), rows(folder), 0
    for wanted, (name, vector) in zip(asked, found, strict=False):
        if name != wanted.id:
            return f"row {count} is {name!r}, not {wanted.id!r}"
        if vector != vector_by(server, model, wanted.text):
            return f"row {count} ({name}) has not the vector that the server gave its text"
        count += 1
    if count != texts:
        return f"there are {count} vectors of {texts} texts"
    return "" if next(found, None) is None else f"there are more than {texts} vectors"


def main() -> None:
    """Check and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts", type=int, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--server", choices=("raw", "simulator"), required=True)
    given = parser.parse_args()
    found = wrong(given.folder, given.texts, given.server, given.model)
    if found:
        sys.exit(found)


if __name__ == "__main__":
    main()
