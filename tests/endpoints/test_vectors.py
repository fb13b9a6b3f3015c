"""Answers to packs: float32 bit for bit in both forms, and whatever is no vector is refused."""

import base64
import json
import math
import struct

import hypothesis.strategies as st
import pytest
from hypothesis import given

from batchrunner.core.attempt import Failure, FailureKind, Reply
from batchrunner.core.http import HttpReply
from batchrunner.endpoints import vectors
from batchrunner.endpoints.quirks import QUIRKS
from batchrunner.endpoints.refusals import classifier
from batchrunner.endpoints.vectors import (
    halves,
    in_floats,
    pack_body,
    pack_head,
    read_vectors,
    refuses_base64,
    text_bytes,
)

CLASSIFY = classifier(QUIRKS["together"])
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def body_of(texts, dimensions=None):
    return pack_body(pack_head("m", dimensions), [text_bytes(text) for text in texts])


def packed(vector):
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def read(data, texts=None, dimensions=None, normalize=False):
    reply = HttpReply(200, {}, json.dumps({"data": data, "model": "m"}).encode(), 0)
    texts = len(data) if texts is None else texts
    return read_vectors(reply, CLASSIFY, body_of(["x"] * texts), dimensions=dimensions, normalize=normalize)


def items(embeddings):
    return [{"index": n, "embedding": embedding} for n, embedding in enumerate(embeddings)]


@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=5), st.randoms())
def test_both_forms_give_the_very_bits_in_the_order_of_the_texts(table, random):
    bits = b"".join(struct.pack("<3f", *vector) for vector in table)
    for form in (list, packed):
        data = items([form(vector) for vector in table])
        random.shuffle(data)
        outcome = read(data)
        assert isinstance(outcome, Reply)
        assert (outcome.vectors, outcome.body) == ((bits, 3, len(table)), b"")


def test_shortest_decimals_come_back_as_the_float32_that_they_stand_for():
    bits = [struct.unpack("<f", struct.pack("<I", n))[0] for n in range(0x3C000000, 0x3E000000, 99_991)]
    shortest = [float(f"{number:.9g}") for number in bits]
    assert read(items([shortest])).vectors.data == struct.pack(f"<{len(bits)}f", *bits)


@pytest.mark.parametrize(
    ("data", "texts", "why"),
    [
        (items([[1.0], [2.0]]), 3, "2 vectors for 3 texts"),
        (items([[1.0], [2.0]]), 1, "2 vectors for 1 texts"),
        ([], 1, "0 vectors"),
        ([{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [2.0]}], 2, "each once"),
        ([{"index": 0, "embedding": [1.0]}, {"index": 2, "embedding": [2.0]}], 2, "each once"),
        ([{"index": -1, "embedding": [1.0]}], 1, "each once"),
        ([{"index": 0, "embedding": [1.0]}, {"embedding": [2.0]}], 2, "each once"),
        (items([[1.0, 2.0], [1.0]]), 2, "1 dimensions, and 2"),
        (items([[], []]), 2, "0 dimensions"),
        (items([""]), 1, "0 dimensions"),
        (items([packed([1.0, math.nan])]), 1, "NaN"),
        (items([packed([math.inf, 1.0])]), 1, "NaN"),
        (items([packed([-math.inf, math.inf])]), 1, "NaN"),
        (items([[1.0, 1e39]]), 1, "NaN"),
        (items(["AAAA"]), 1, "not made of float32"),
        (items(["A"]), 1, "Invalid base64"),
        (items([["1"]]), 1, "Expected"),
    ],
)
def test_what_is_not_a_vector_for_each_text_is_a_bad_reply(data, texts, why):
    outcome = read(data, texts)
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.BAD_REPLY
    assert why in outcome.message


def test_vectors_of_another_length_than_the_corpus_has_are_refused():
    assert read(items([[1.0, 2.0]]), dimensions=2).vectors.dimensions == 2
    assert "2 dimensions, and 3 are expected" in read(items([[1.0, 2.0]]), dimensions=3).message


def test_the_largest_numbers_are_numbers():
    largest = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]
    assert read(items([packed([largest, -largest])])).vectors.count == 1


def test_vectors_without_any_index_are_taken_in_their_order():
    assert read([{"embedding": [1.0]}, {"embedding": [2.0]}]).vectors.data == struct.pack("<2f", 1.0, 2.0)


@pytest.mark.parametrize("with_numpy", [True, False])
def test_normalized_vectors_have_length_one_and_nothing_stays_nothing(with_numpy, monkeypatch):
    if not with_numpy:
        monkeypatch.setattr(vectors, "_numpy", lambda: None)
    found = read(items([[3.0, 4.0], [0.0, 0.0], [1e-30, 0.0]]), normalize=True).vectors.data
    assert found == struct.pack("<6f", 0.6, 0.8, 0.0, 0.0, 1.0, 0.0)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=20), st.none() | st.integers(1, 9))
def test_the_halves_of_a_pack_hold_its_texts_and_everything_else_that_was_asked(texts, dimensions):
    body = body_of(texts, dimensions)
    whole = json.loads(body)
    both = halves(body)
    if len(texts) == 1:
        assert both is None
        return
    first, second = (json.loads(half.body) for half in both)
    assert first["input"] + second["input"] == whole["input"]
    assert first | {"input": 0} == second | {"input": 0} == whole | {"input": 0}
    assert [half.texts for half in both] == [len(first["input"]), len(second["input"])]
    assert abs(both[0].texts - both[1].texts) <= 1


@given(st.lists(st.text(), min_size=1, max_size=5), st.text(min_size=1))
def test_asking_for_numbers_changes_nothing_but_the_form(texts, model):
    texts = [*texts, '"encoding_format":"base64","input":[']
    body = pack_body(pack_head(model, 5), [text_bytes(text) for text in texts])
    assert json.loads(in_floats(body)) == {k: v for k, v in json.loads(body).items() if k != "encoding_format"}
    assert in_floats(in_floats(body)) == in_floats(body)


def test_a_refusal_of_base64_is_known_by_its_words_and_only_where_it_was_asked_for():
    asked = body_of(["base64 and encoding_format"])

    def refusal(status, text):
        return CLASSIFY(HttpReply(status, {}, json.dumps({"error": {"message": text}}).encode(), 0))

    assert refuses_base64(asked, refusal(400, "encoding_format is not supported"))
    assert refuses_base64(asked, refusal(422, "body.encoding_format: Extra inputs are not permitted"))
    assert not refuses_base64(in_floats(asked), refusal(400, "encoding_format is not supported"))
    assert not refuses_base64(asked, refusal(400, "input[3] is empty"))
    assert not refuses_base64(asked, refusal(429, "base64"))


def test_half_a_surrogate_pair_can_be_sent():
    assert json.loads(body_of(["a\ud800b"]))["input"] == ["a?b"]
