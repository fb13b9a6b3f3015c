"""Corpora in the store: packs, items, vectors, splits, versions, and what is dropped."""

import json
import random
import struct
import subprocess

import pytest

from batchrunner.core.attempt import Reply
from batchrunner.core.corpus import EMPTY, Half, Item, Pack, TextCounts, Vectors
from batchrunner.core.retry import Split, Succeed
from batchrunner.store.check import check
from tests.store.making import (
    ACCOUNTS,
    INFO,
    NOW,
    SqliteEngine,
    close,
    create,
    give_up,
    heads,
    load,
    refusal,
    source,
    start_calls,
)

DIM = 3


@pytest.fixture
def engine(tmp_path):
    return SqliteEngine(tmp_path / "q.db")


@pytest.fixture
def store(engine):
    with engine.open() as opened:
        opened.start(INFO, NOW, ACCOUNTS)
        yield opened


@pytest.fixture
def reader(engine, store):
    opened = engine.reader()
    yield opened
    opened.close()


def vector_of(text):
    return struct.pack(f"<{DIM}f", *(random.Random(text).random() for _ in range(DIM)))


def body_of(texts):
    return json.dumps({"input": texts}).encode()


def texts_of(body):
    return json.loads(body)["input"]


def fill(store, packs, name="c", sealed=True):
    """A corpus of these packs of texts; each text is its own id."""
    job = create(store, name)
    corpus = store.create_corpus(job.id, "m", b"params", normalize=False)
    add(store, corpus, 1, packs)
    if sealed:
        store.seal_corpus(corpus, 1, source(), sum(map(len, packs)))
    return job, store.corpus(job.id)


def add(store, corpus, version, packs, first_seq=0):
    rows, items, first = [], [], store.next_request()
    for request_id, texts in enumerate(packs, first):
        rows.append(Pack(request_id, body_of(texts), 10 * len(texts), len(texts)))
        for pos, text in enumerate(texts):
            items.append(Item(first_seq + len(items), 0, text, text.encode(), request_id, pos, 0, b"{}", None))
    store.add_packs(corpus, version, rows, items)
    return items


def answer(call, dimensions=DIM):
    texts = texts_of(call[0].body)
    data = b"".join(map(vector_of, texts))
    made = Reply(200, b"", None, vectors=Vectors(data, dimensions, len(texts)))
    return close(call, made, Succeed(), usage=None)


def halved(call):
    texts = texts_of(call[0].body)
    first, second = texts[: len(texts) // 2], texts[len(texts) // 2 :]
    halves = [Half(body_of(half), 10 * len(half), len(half)) for half in (first, second)]
    return close(call, refusal(), Split(NOW + 1, *halves))


def commit(store, closings):
    store.commit([], closings, [], NOW + 5)


def vectors_of(reader, corpus):
    return reader.vectors(corpus.id, reader.embedded(corpus.id))


def found(reader, corpus):
    vectors = {}
    for batch in vectors_of(reader, corpus):
        width = 4 * batch.dimensions
        for n, name in enumerate(batch.ids):
            assert name not in vectors
            vectors[name] = batch.vectors[n * width : (n + 1) * width]
    return vectors


def test_vectors_come_back_in_the_order_of_the_texts(store, reader, engine):
    job, corpus = fill(store, [["a", "b"], ["c"], ["d", "e"]])
    calls = start_calls(store, heads(store, job))
    assert [call[0].pack for call in calls] == [(None, False)] * 3
    commit(store, [answer(call) for call in calls[::-1]])
    assert list(found(reader, corpus).items()) == [(text, vector_of(text)) for text in "abcde"]
    assert store.corpus(job.id).dimensions == DIM
    assert reader.text_counts(corpus.id) == TextCounts(5, 5, 0, 0, 0, 0, 0)
    assert check(engine.path) == []


def test_the_first_vectors_win_and_a_later_answer_is_wasted(store, reader, engine):
    job, corpus = fill(store, [["a", "b"]])
    (call,) = start_calls(store, heads(store, job))
    store.start(INFO, NOW + 1, ACCOUNTS)  # rescues: the call is lost, and bought again
    (again,) = start_calls(store, heads(store, job))
    commit(store, [answer(again)])
    commit(store, [answer(call)])
    assert found(reader, corpus) == {text: vector_of(text) for text in "ab"}
    (costs,) = reader.costs((), job.id)
    assert (costs.attempts, costs.succeeded) == (2, 1)
    assert check(engine.path) == []


def test_a_pack_that_is_split_keeps_every_text_and_every_count(store, reader, engine):
    job, corpus = fill(store, [["a", "b", "c", "d", "e"], ["f"]])
    other = load(store, 2, "other")
    calls = start_calls(store, heads(store, job))
    commit(store, [halved(calls[0]), answer(calls[1])])
    assert reader.counts(job.id, NOW).total == 3
    assert next(each for each in store.jobs() if each.id == job.id).lines == 3
    assert check(engine.path) == []
    rows = list(reader.results(job.id))
    assert len({row.custom_id for row in rows}) == len(rows) == 3
    again = start_calls(store, heads(store, job))
    assert sorted(texts_of(call[0].body) for call in again) == [["a", "b"], ["c", "d", "e"]]
    commit(store, [answer(call) for call in again])
    assert list(found(reader, corpus)) == list("abcdef")
    assert found(reader, corpus) == {text: vector_of(text) for text in "abcdef"}
    assert check(engine.path) == []
    late = load(store, 2, "late")
    assert len(list(reader.results(other.id))) == len(list(reader.results(late.id))) == 2


@pytest.mark.parametrize("seed", range(5))
def test_however_packs_are_split_every_text_gets_its_own_vector_or_its_own_failure(store, reader, engine, seed):
    dice = random.Random(seed)
    packs = [[f"{n}-{m}" for m in range(dice.randint(1, 17))] for n in range(6)]
    poison = {text for pack in packs for text in pack if dice.random() < 0.1}
    job, corpus = fill(store, packs)
    while claimed := heads(store, job):
        calls = start_calls(store, dice.sample(claimed, dice.randint(1, len(claimed))))
        if dice.random() < 0.2:
            store.start(INFO, NOW + 1, ACCOUNTS)
            commit(store, [answer(call) for call in calls if not poison & set(texts_of(call[0].body))])
            continue
        closings = []
        for call in calls:
            texts = texts_of(call[0].body)
            bad = poison & set(texts)
            closings.append(answer(call) if not bad else halved(call) if len(texts) > 1 else give_up(call))
        commit(store, closings)
        assert check(engine.path) == []
    every = [text for pack in packs for text in pack]
    assert found(reader, corpus) == {text: vector_of(text) for text in every if text not in poison}
    assert [(each.id, each.reason) for each in reader.missing(corpus.id)] == [
        (text, "invalid_request") for text in every if text in poison
    ]
    counts = reader.text_counts(corpus.id)
    assert (counts.total, counts.embedded, counts.failed) == (len(every), len(every) - len(poison), len(poison))


def test_a_late_answer_to_what_was_split_since_is_taken_for_the_texts_that_are_left(store, reader, engine):
    job, corpus = fill(store, [["a", "b", "c", "d"]])
    (lost,) = start_calls(store, heads(store, job))
    store.start(INFO, NOW + 1, ACCOUNTS)
    (call,) = start_calls(store, heads(store, job))
    commit(store, [halved(call)])
    commit(store, [answer(lost)])
    assert found(reader, corpus) == {text: vector_of(text) for text in "ab"}
    commit(store, [answer(call) for call in start_calls(store, heads(store, job))])
    assert found(reader, corpus) == {text: vector_of(text) for text in "abcd"}
    assert check(engine.path) == []


def test_a_split_is_no_more_if_the_request_is_not_running_by_then(store, reader, engine):
    job, _ = fill(store, [["a", "b"]])
    (call,) = start_calls(store, heads(store, job))
    store.start(INFO, NOW + 1, ACCOUNTS)
    commit(store, [halved(call)])
    assert reader.counts(job.id, NOW).total == 1
    assert check(engine.path) == []


def test_texts_that_are_not_sent_are_told_with_their_reason(store, reader):
    job = create(store, "c")
    corpus = store.create_corpus(job.id, "m", b"p", normalize=False)
    first = store.next_request()
    items = [
        Item(0, 0, "none", b"", None, 0, 0, b"{}", EMPTY),
        Item(1, 0, "a", b"a", first, 0, 0, b'{"k":1}', None),
        Item(2, 0, "again", b"a", first, 0, 0, b"{}", "duplicate"),
    ]
    store.add_packs(corpus, 1, [Pack(first, body_of(["a"]), 1, 1)], items)
    store.seal_corpus(corpus, 1, source(), 3)
    commit(store, [answer(call) for call in start_calls(store, heads(store, job))])
    (batch,) = vectors_of(reader, corpus)
    assert (batch.ids, batch.vectors, batch.kept) == (["a", "again"], 2 * vector_of("a"), [b'{"k":1}', b"{}"])
    assert [(each.id, each.reason) for each in reader.missing(corpus.id)] == [("none", "empty")]
    assert reader.text_counts(corpus.id) == TextCounts(3, 2, 0, 0, 1, 0, 1)


def test_the_parts_of_a_text_come_back_as_their_mean_by_length(store, reader):
    job = create(store, "c")
    corpus = store.create_corpus(job.id, "m", b"p", normalize=False)
    first = store.next_request()
    items = [Item(0, part, "a", b"%d" % part, first, part, 3 - 2 * part, b"{}", None) for part in (0, 1)]
    store.add_packs(corpus, 1, [Pack(first, body_of(["x", "y"]), 1, 2)], items)
    store.seal_corpus(corpus, 1, source(), 1)
    (call,) = start_calls(store, heads(store, job))
    data = struct.pack("<6f", 4, 0, 8, 0, 4, 8)
    commit(store, [close(call, Reply(200, b"", None, vectors=Vectors(data, 3, 2)), Succeed())])
    assert found(reader, corpus) == {"a": struct.pack("<3f", 3, 1, 8)}
    assert reader.text_counts(corpus.id).embedded == 1


def test_a_new_version_replaces_the_items_and_the_vectors_stay(store, reader, engine):
    job, corpus = fill(store, [["a", "b", "c"], ["d"]])
    calls = start_calls(store, heads(store, job)[:1])
    commit(store, [answer(call) for call in calls])
    seen = store.seen(corpus)
    known = seen.find([b"a", b"c", b"d", b"new"])
    seen.close()
    assert {digest: place[1:] for digest, place in known.items()} == {
        b"a": (0, False),
        b"c": (2, False),
        b"d": (0, False),
    }
    items = [Item(n, 0, text, text.encode(), *known[text.encode()][:2], 0, b"{}", None) for n, text in enumerate("ca")]
    version = store.next_version(corpus)
    store.add_packs(corpus, version, [], items)
    assert list(found(reader, corpus)) == ["a", "b", "c"], "nothing changes before it is sealed"
    store.seal_corpus(corpus, version, source(), 2)
    assert list(found(reader, corpus)) == ["c", "a"]
    assert reader.counts(job.id, NOW).cancelled == 1, "nobody pays for what no text needs"
    assert check(engine.path) == []
    assert store.prune(corpus) == 1
    assert store.prune(corpus) == 0
    assert found(reader, corpus) == {text: vector_of(text) for text in "ca"}
    assert check(engine.path) == []


def keep_only(store, corpus, texts):
    """Load the corpus anew, with nothing but these texts of it."""
    seen = store.seen(corpus)
    known = seen.find([text.encode() for text in texts])
    seen.close()
    items = [Item(n, 0, text, text.encode(), *known[text.encode()][:2], 0, b"{}", None) for n, text in enumerate(texts)]
    version = store.next_version(corpus)
    store.add_packs(corpus, version, [], items)
    store.seal_corpus(corpus, version, source(), len(items))


@pytest.mark.parametrize("seed", range(6))
def test_after_a_prune_no_byte_of_a_text_that_is_gone_is_in_the_file(engine, seed):
    dice = random.Random(seed)
    texts = [f"é{n:03}{'x' * dice.choice([1, 3_000])}" for n in range(60)]  # é: as only a body spells it
    with engine.open() as store:
        store.start(INFO, NOW, ACCOUNTS)
        job, corpus = fill(store, [texts[n : n + 6] for n in range(0, 60, 6)])
        calls = start_calls(store, heads(store, job)[:8])
        commit(store, [dice.choice([answer, answer, give_up, halved])(call) for call in calls])
        kept = [text for text in texts if dice.random() < 0.5]
        keep_only(store, corpus, kept)
        store.prune(corpus)
        rows = (
            store._session.connection()
            .exec_driver_sql("SELECT i.ext_id, i.pos, b.data FROM items AS i JOIN bodies AS b USING (request_id)")
            .all()
        )
        store._session.connection().rollback()
        assert sorted(name for name, _, _ in rows) == sorted(kept)
        assert all(texts_of(body)[pos] == name for name, pos, body in rows)
        reader = engine.reader()
        assert found(reader, corpus).items() <= {text: vector_of(text) for text in kept}.items()
        reader.close()
    assert check(engine.path) == []
    file = subprocess.run(["cat", engine.path], stdout=subprocess.PIPE, check=True).stdout  # no descriptor of ours
    there = {text for text in texts if json.dumps(text[:4])[1:-1].encode() in file}
    assert there <= set(kept)
    assert len(there) >= len(kept) - 3, "a name may lie across two pages"


def test_what_is_left_of_a_pruned_corpus_is_sent_and_nothing_else(store, reader, engine):
    job, corpus = fill(store, [["a", "b"], ["c", "d"], ["e", "f"]])
    (call,) = start_calls(store, heads(store, job)[:1])
    commit(store, [give_up(call)])
    keep_only(store, corpus, ["b", "d"])
    assert store.prune(corpus) == 0
    counts = reader.counts(job.id, NOW)
    assert (counts.queued, counts.failed, counts.cancelled) == (1, 1, 1)
    assert store.retry(job.id, now=NOW + 9) == 1
    store.cancel(job.id)
    store.sweep()
    store.reopen(job.id)
    while store.take_back(job.id, NOW + 10):
        pass
    calls = start_calls(store, heads(store, job))
    assert sorted(texts_of(call[0].body) for call in calls) == [["b"], ["d"]]
    commit(store, [answer(call) for call in calls])
    assert found(reader, corpus) == {text: vector_of(text) for text in "bd"}
    assert check(engine.path) == []


def test_a_failure_goes_away_with_its_text(store, reader):
    job, corpus = fill(store, [["bad"], ["good"]])
    calls = start_calls(store, heads(store, job))
    commit(store, [give_up(calls[0]), answer(calls[1])])
    keep_only(store, corpus, ["good"])
    counts = reader.counts(job.id, NOW)
    assert (counts.failed, counts.succeeded, counts.cancelled) == (0, 1, 1)
    assert reader.failures(job.id) == []


def test_a_corpus_whose_load_was_cut_short_leaves_nothing(store, engine):
    job, _corpus = fill(store, [["a"], ["b"]], sealed=False)
    store.discard_corpus(job.id)
    store.discard(job.id)
    assert store.jobs() == []
    assert store.corpus(job.id) is None
    assert check(engine.path) == []


def test_damaged_vectors_are_found(store, reader, engine):
    job, corpus = fill(store, [list("abcdef")])
    commit(store, [answer(call) for call in start_calls(store, heads(store, job))])
    with store._session.write() as connection:
        connection.exec_driver_sql("UPDATE vectors SET data = zeroblob(length(data))")
    assert check(engine.path) == ["the pack of vectors of request 1 is damaged: its checksum differs"]
    with pytest.raises(Exception, match="the vectors of request 1 are damaged"):
        list(vectors_of(reader, corpus))


def test_vectors_and_splits_that_a_run_had_put_by_are_taken_in(store, reader, engine):
    job, corpus = fill(store, [["a", "b"], ["c", "d"]])
    calls = start_calls(store, heads(store, job))
    spilled = [answer(calls[0]), halved(calls[1])]
    assert store.take_in(spilled, [], NOW + 3).taken == 2
    assert store.take_in(spilled, [], NOW + 4).known == 2
    assert found(reader, corpus) == {text: vector_of(text) for text in "ab"}
    assert sorted(texts_of(call[0].body) for call in start_calls(store, heads(store, job))) == [["c"], ["d"]]
    assert check(engine.path) == []


def test_a_pack_of_a_cancelled_job_is_cancelled_in_both_halves(store, reader, engine):
    job, _ = fill(store, [["a", "b"]])
    (call,) = start_calls(store, heads(store, job))
    store.cancel(job.id)
    store.sweep()
    commit(store, [halved(call)])
    assert reader.counts(job.id, NOW).cancelled == 2
    assert check(engine.path) == []
