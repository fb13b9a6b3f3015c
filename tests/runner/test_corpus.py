"""Corpora through whole runs in virtual time: every text one vector, whatever is refused, broken or said twice."""

import json
import math
import struct
from collections import Counter

import httpx
import msgspec
import pytest

from batchrunner.api import session
from batchrunner.core.clock import SystemClock
from batchrunner.core.corpus import Text
from batchrunner.core.errors import ConfigurationError, InputError
from batchrunner.core.job import JobSource
from batchrunner.core.packing import PackLimits
from batchrunner.runner.corpus import load_corpus
from batchrunner.runner.corpuscounting import Counting
from batchrunner.runner.corpusfill import CorpusOptions
from batchrunner.simulator import Settings
from batchrunner.simulator.vectors import vector_of
from batchrunner.store.check import check
from batchrunner.transport.secret import Secret
from batchrunner.transport.send import HttpTransport
from tests.canary import CANARY_KEY
from tests.invariants import Scenario, broken
from tests.runner.world import SimulatedHost, World

pytestmark = pytest.mark.usefixtures("virtual_time")

MODEL = "BAAI/bge-base-en-v1.5"
DIM = 8


def options(**changes):
    given = {"name": "c", "provider": "together", "model": MODEL, "limits": PackLimits(10, None, None)}
    return CorpusOptions(**(given | changes))


def load(held, texts, **changes):
    texts = [text if isinstance(text, Text) else Text(text, text) for text in texts]
    source = JobSource(path="/data/c.jsonl", sha256=str(hash(tuple(texts))), size=1, mtime_ns=2)
    asked = options(**changes)
    return load_corpus(held._store, SystemClock(), iter(texts), asked, source)


def vectors_of(reader, corpus):
    return reader.vectors(corpus.id, reader.embedded(corpus.id))


class Host(SimulatedHost):
    """Keeps the texts that came, and answers first what ``refuse`` says."""

    def __init__(self, world):
        super().__init__(world.provider)
        self.world = world

    async def handle_async_request(self, request):
        body = msgspec.json.decode(await request.aread())
        self.world.calls.append(body)
        refusal = self.world.refuse(body)
        return refusal or await super().handle_async_request(request)


class Corpora(World):
    """A world of corpora."""

    def __init__(self, folder, refuse=lambda body: None, **settings):
        super().__init__(folder, Settings(latency=1.0, embedding_dimensions=DIM, **settings))
        self.calls = []
        self.refuse = refuse

    def _transport(self, provider):
        return HttpTransport(Host(self), "http://127.0.0.1:1", Secret(CANARY_KEY), clock=self.clock)

    async def embed(self, texts, **changes):
        with session(self.loaded()) as held:
            loaded = load(held, texts, **changes)
            return loaded, await held.plan([loaded.job], outside=self.outside()).execute()

    def read(self, what):
        with session(self.loaded()) as held:
            return what(held, held._store.corpus(held.jobs()[0].id))

    def vectors(self):
        found = []
        for batch in self.read(lambda held, corpus: list(vectors_of(held._reader, corpus))):
            width = 4 * batch.dimensions
            found += [(name, batch.vectors[n * width :][:width]) for n, name in enumerate(batch.ids)]
        return found

    def missing(self):
        return self.read(lambda held, corpus: [(each.id, each.reason) for each in held._reader.missing(corpus.id)])

    def counts(self):
        return self.read(lambda held, corpus: held._reader.text_counts(corpus.id))

    def sent(self):
        """Every text that was sent, as often as it was."""
        return Counter(text for body in self.calls for text in body["input"])

    def check(self):
        assert check(self.folder / "q.db") == []
        assert broken(Scenario(db=self.folder / "q.db", calls=self.provider.ledger.entries)) == []


def bits(text):
    return struct.pack(f"<{DIM}f", *vector_of(MODEL, text, DIM))


def refused(status, message):
    return httpx.Response(status, json={"error": {"message": message, "type": "invalid_request_error"}})


async def test_every_text_gets_its_vector_bit_for_bit_in_the_order_of_the_source(folder):
    world = Corpora(folder)
    texts = [f"text {n}" for n in range(95)]
    loaded, report = await world.embed(texts)
    assert (loaded.texts, loaded.sent, loaded.packs, report.tally.texts) == (95, 95, 10, 95)
    assert world.vectors() == [(text, bits(text)) for text in texts]
    assert all(body["encoding_format"] == "base64" for body in world.calls)
    world.check()


async def test_a_server_that_takes_no_base64_is_asked_for_numbers_from_then_on_and_no_text_fails(folder):
    world = Corpora(folder, lambda body: refused(400, "encoding_format is not supported") if len(body) > 2 else None)
    texts = [f"text {n}" for n in range(300)]
    _, report = await world.embed(texts)
    assert (report.tally.failed, world.vectors()) == (0, [(text, bits(text)) for text in texts])
    assert 0 < sum(len(body) > 2 for body in world.calls) <= 8, "as many as were in the air at the first refusal"
    world.calls.clear()
    await world.embed([*texts, "one more"])
    assert [body["input"] for body in world.calls] == [["one more"]]
    assert "encoding_format" not in world.calls[0], "it was remembered"


async def test_texts_at_fault_are_found_by_name_and_the_search_costs_no_more_than_it_may(folder):
    world = Corpora(folder, poison="POISON")
    texts = [f"text {n}" for n in range(2_000)]
    for n in (3, 77, 78, 500, 1_111, 1_234, 1_500, 1_501, 1_502, 1_999):
        texts[n] = f"POISON {n}"
    _, report = await world.embed(texts, limits=PackLimits(100, None, None))
    poison = [text for text in texts if "POISON" in text]
    assert world.missing() == [(text, "invalid_request") for text in poison]
    assert world.vectors() == [(text, bits(text)) for text in texts if text not in poison]
    assert len(world.calls) <= 20 + len(poison) * 2 * math.ceil(math.log2(100))
    assert report.tally.split == len(world.calls) // 2 - 10
    assert report.exit_code == 3
    world.check()


async def test_what_refuses_every_pack_is_no_texts_fault_and_is_not_searched_for_long(folder):
    world = Corpora(folder, lambda body: refused(400, "dimensions is not supported by this model"))
    _, report = await world.embed([f"text {n}" for n in range(2_000)])
    assert len(world.calls) <= 200 + 2 * 64
    assert world.counts().failed == 2_000
    assert report.exit_code == 3


@pytest.mark.parametrize(
    ("status", "error", "kind", "said"),
    [
        (400, {"message": "This model does not support specifying dimensions."}, "misconfigured", "--dimensions"),
        (400, {"message": "Invalid value.", "param": "dimensions"}, "misconfigured", "leave --dimensions out"),
        (422, {"message": "body.dimensions: Extra inputs are not permitted"}, "misconfigured", "--dimensions"),
        (400, {"message": "'encoding_format' is unknown"}, "misconfigured", "base64 and numbers alike"),
        (400, {"message": "Model m is not an embedding model"}, "model_unavailable", "not an embedding model"),
    ],
)
async def test_what_all_packs_ask_for_stops_the_lane_after_a_few_calls_and_no_text_fails(
    folder, status, error, kind, said
):
    world = Corpora(folder, lambda body: httpx.Response(status, json={"error": error}))
    _, report = await world.embed([f"text {n}" for n in range(2_000)], dimensions=4)
    (halt,) = report.standing
    assert (halt.kind, halt.scope, said in halt.message) == (kind, "lane", True)
    assert len(world.calls) <= 16
    assert (world.counts().failed, world.counts().waiting, report.tally.split) == (0, 2_000, 0)


async def test_a_message_that_quotes_a_text_does_not_blame_the_corpus(folder):
    def refuse(body):
        bad = [text for text in body["input"] if "POISON" in text]
        return refused(400, f"can't embed {bad[0]}") if bad else None

    world = Corpora(folder, refuse, flavour="openai")
    texts = [f"text {n}" for n in range(400)]
    texts[333], texts[390] = "POISON dimensions", "POISON encoding_format"
    await world.embed(texts, dimensions=4, model="text-embedding-3-small")
    assert world.missing() == [(texts[333], "invalid_request"), (texts[390], "invalid_request")]


@pytest.mark.slow
async def test_a_text_that_breaks_its_server_each_time_is_found_as_well(folder):
    def refuse(body):
        return refused(500, "Out of range float values") if "bad" in body["input"] else None

    world = Corpora(folder, refuse)
    texts = [*(f"text {n}" for n in range(40)), "bad", *(f"more {n}" for n in range(9))]
    await world.embed(texts)
    assert world.missing() == [("bad", "server_error")]


async def test_identical_texts_are_sent_once_and_empty_ones_never(folder):
    world = Corpora(folder)
    texts = [Text(str(n), f"text {n % 30}" if n % 10 else "  ", b'{"n":%d}' % n) for n in range(200)]
    loaded, _ = await world.embed(texts)
    assert set(world.sent().values()) == {1}
    assert loaded.sent == len(world.sent()) == 27
    assert world.vectors() == [(text.id, bits(text.text)) for text in texts if text.text.strip()]
    assert world.missing() == [(text.id, "empty") for text in texts if not text.text.strip()]
    counts = world.counts()
    assert (counts.total, counts.embedded, counts.empty, counts.duplicates) == (200, 180, 20, 153)
    world.check()


@pytest.mark.slow
async def test_a_second_run_sends_exactly_what_is_new_or_changed(folder):
    world = Corpora(folder)
    texts = [Text(str(n), f"text {n}") for n in range(1_000)]
    await world.embed(texts)
    world.calls.clear()
    changed = [text._replace(text=f"changed {text.id}") if int(text.id) % 100 == 7 else text for text in texts]
    grown = [*changed, *(Text(str(n), f"new {n}") for n in range(1_000, 1_100))][::-1]
    loaded, _ = await world.embed(grown)
    assert world.sent() == Counter(text.text for text in grown if text not in texts)
    assert (loaded.sent, loaded.known) == (110, 990)
    assert world.vectors() == [(text.id, bits(text.text)) for text in grown]
    world.calls.clear()
    loaded, report = await world.embed(grown)
    assert (loaded.sent, world.calls, report.tally.attempts) == (0, [], 0)
    assert world.read(lambda held, corpus: held._store.prune(corpus)) == 10
    assert world.vectors() == [(text.id, bits(text.text)) for text in grown]
    world.check()


def unread():
    yield pytest.fail("it was read")


async def test_a_source_that_did_not_change_is_not_read_again(folder):
    world = Corpora(folder)
    await world.embed(["a"])
    with session(world.loaded()) as held:
        (job,) = held.jobs()
        loaded = load_corpus(held._store, SystemClock(), unread(), options(), job.source)
    assert (loaded.unchanged, loaded.texts) == (True, 1)


@pytest.mark.parametrize("other", [{"model": "x"}, {"dimensions": 4}, {"normalize": True}, {"provider": "openai"}])
async def test_vectors_of_two_kinds_do_not_come_into_one_corpus(folder, other):
    world = Corpora(folder)
    await world.embed(["a"])
    with session(world.loaded()) as held, pytest.raises(ConfigurationError, match="other ones are asked for"):
        load(held, ["a"], **other)


@pytest.mark.slow
async def test_a_load_that_is_cut_short_leaves_nothing_or_what_was_there(folder, monkeypatch):
    for module in ("corpusfill", "corpusgather"):
        monkeypatch.setattr(f"batchrunner.runner.{module}.CHUNK", 2_000)

    def broken_source(texts):
        yield from texts
        raise InputError("a bad line")

    world = Corpora(folder)
    for n, before in enumerate([[], ["a", "b"]]):
        if before:
            await world.embed(before)
        many = broken_source(Text(str(n), f"new {n}") for n in range(12_000))
        with session(world.loaded()) as held, pytest.raises(InputError):
            load_corpus(held._store, SystemClock(), many, options(), JobSource(path="-", sha256="", size=0, mtime_ns=0))
        with session(world.loaded()) as held:
            assert len(held.jobs()) == n
    assert [name for name, _ in world.vectors()] == ["a", "b"]
    loaded, _ = await world.embed(["b", "new 5"])
    assert loaded.known == 2, "what the cut load had queued already is not queued twice"
    assert [name for name, _ in world.vectors()] == ["b", "new 5"]
    world.check()


LONG = " ".join(f"word{n}" for n in range(100))  # 8 bytes a word: about 170 tokens


@pytest.mark.parametrize(
    ("how", "reason"), [("error", "too_long"), ("truncate", None), ("chunk", None), ("apart", None)]
)
async def test_texts_that_are_too_long_are_told_cut_or_taken_in_parts(folder, how, reason):
    world = Corpora(folder)
    asked = {"too_long": "chunk", "apart": True} if how == "apart" else {"too_long": how}
    await world.embed(
        [Text("short", "a"), Text("long", LONG), Text("last", "z")], limits=PackLimits(9, 9_999, 50), **asked
    )
    names = {"error": ["short", "last"], "apart": ["short", *(f"long#{n}" for n in range(1, 5)), "last"]}
    vectors = world.vectors()
    assert [name for name, _ in vectors] == names.get(how, ["short", "long", "last"])
    assert world.missing() == ([("long", reason)] if reason else [])
    if how == "chunk":
        parts = [text for text in world.sent() if text.startswith("word")]
        assert ("".join(parts), max(map(len, parts)) <= 200) == (LONG, True)
        weights = [-(-(len(part) + 2) // 4) for part in parts]
        columns = zip(*(vector_of(MODEL, part, DIM) for part in parts), strict=True)
        mean = [sum(w * x for w, x in zip(weights, column, strict=True)) / sum(weights) for column in columns]
        assert struct.unpack(f"<{DIM}f", vectors[1][1]) == pytest.approx(mean, abs=1e-6)
    world.check()


async def test_an_estimate_that_is_off_refuses_no_text(folder):
    world = Corpora(folder)
    await world.embed(["x" * 260], limits=PackLimits(9, None, 50))
    assert world.counts().embedded == 1


class Letters:
    """A tokenizer by which each character is a token, and every text has two more."""

    sha256 = "letters"

    def counts(self, texts, *, special):
        return [len(text) + 2 * special for text in texts]

    def cut(self, text, most):
        return [text[start : start + most - 2] for start in range(0, len(text), most - 2)]


async def test_exact_counts_leave_no_doubt_of_what_is_too_long_and_fill_packs_to_the_token(folder):
    world = Corpora(folder)
    texts = ["x" * 48, "y" * 49, *(f"{n:08}" for n in range(40))]
    loaded, _ = await world.embed(texts, counting=Counting(Letters()), limits=PackLimits(99, 100, 50))
    assert world.missing() == [(texts[1], "too_long")]
    assert [len(body["input"]) for body in sorted(world.calls, key=lambda body: body["input"])] == [10, 10, 10, 5, 6]
    assert loaded.tokens == 50 + 40 * 10
    assert loaded.packs == 5


@pytest.mark.parametrize("apart", [False, True])
async def test_texts_are_cut_and_weighed_by_exact_counts(folder, apart):
    world = Corpora(folder)
    asked = {"limits": PackLimits(9, None, 12), "too_long": "chunk", "apart": apart}
    await world.embed(["short", "abcdefghijKLMNOPQRSTuv"], counting=Counting(Letters()), **asked)
    parts = ["abcdefghij", "KLMNOPQRST", "uv"]
    assert set(world.sent()) == {"short", *parts}
    if apart:
        return
    weights = [len(part) + 2 for part in parts]
    columns = zip(*(vector_of(MODEL, part, DIM) for part in parts), strict=True)
    mean = [sum(w * x for w, x in zip(weights, column, strict=True)) / sum(weights) for column in columns]
    assert struct.unpack(f"<{DIM}f", world.vectors()[1][1]) == pytest.approx(mean, abs=1e-6)


async def test_nothing_to_embed_is_an_error_of_the_source(folder):
    world = Corpora(folder)
    with session(world.loaded()) as held, pytest.raises(InputError, match="holds no text"):
        load(held, [])


async def test_packs_are_sent_byte_for_byte_as_they_are_stored(folder):
    world = Corpora(folder, flavour="openai")
    model = "text-embedding-3-small"
    await world.embed(["é", 'a "quote"\n', "z" * 20], model=model, dimensions=4)
    expected = {"model": model, "encoding_format": "base64", "dimensions": 4, "input": ["é", 'a "quote"\n', "z" * 20]}
    assert world.calls == [expected]
    assert json.dumps(list(world.calls[0])) == json.dumps(list(expected))
    world.check()
