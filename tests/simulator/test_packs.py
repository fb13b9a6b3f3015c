"""Embedding many texts in a call: limits and refusals, vectors that are known beforehand, and vectors gone bad."""

from __future__ import annotations

import base64
import json
import math
import struct
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.simulator.faults import VECTOR_KINDS
from batchrunner.simulator.vectors import packed, vector_of, written

SMALL = "text-embedding-3-small"
E5 = "intfloat/multilingual-e5-large-instruct"
TEXTS = [f"text {number}" for number in range(10)]


def embed(counter, texts, model=SMALL, **more):
    return counter.post("/v1/embeddings", {"model": model, "input": texts, **more})


def refusal(answer):
    return json.loads(answer.body)["error"]


def floats(embedding):
    if isinstance(embedding, list):
        return embedding
    raw = base64.b64decode(embedding, validate=True)
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


# ------------------------------------------------------------------------------------------------------------ vectors


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 1600))
def test_numbers_and_base64_are_the_same_float32_and_as_long_as_one(text, size):
    numbers, raw = json.loads(bytes(written("m", text, size))), base64.b64decode(packed("m", text, size))
    assert numbers == vector_of("m", text, size)
    assert struct.pack(f"<{size}f", *numbers) == raw
    assert math.isclose(math.hypot(*numbers), 1.0, abs_tol=1e-6)


@pytest.mark.parametrize("size", [2, 384, 768, 1024, 1536, 3072])
def test_a_reader_of_float32_finds_the_same_number_as_one_that_reads_a_double_first(size):
    """A decimal next to the middle of two float32 would come out differently on the two ways."""
    for number in {abs(each) for n in range(40) for each in vector_of("m", f"text {n}", size)}:
        near = struct.unpack("<f", struct.pack("<f", number))[0]
        bits = struct.unpack("<I", struct.pack("<f", number))[0]
        step = Fraction(struct.unpack("<f", struct.pack("<I", bits + 1))[0]) - Fraction(near)
        assert abs(Fraction(repr(number)) - Fraction(near)) < step * Fraction(499_999, 1_000_000)


def test_a_shorter_vector_is_the_beginning_of_the_longer_one_made_as_long_as_one_again():
    long, short = vector_of(SMALL, "a text", 1536), vector_of(SMALL, "a text", 256)
    norm = math.hypot(*long[:256])
    assert short == pytest.approx([value / norm for value in long[:256]], abs=1e-6)


def test_every_text_and_every_model_has_a_vector_of_its_own():
    drawn = {tuple(vector_of(model, f"text {n}", 32)) for n in range(2000) for model in "ab"}
    assert len(drawn) == 4000


# ------------------------------------------------------------------------------------------------------------- limits


def test_openai_refuses_what_is_too_much_in_its_own_words(desk):
    counter = desk(flavour="openai")
    assert embed(counter, ["a"] * 2048).status == 200
    many = refusal(embed(counter, ["a"] * 2049))
    assert (many["message"], many["code"]) == (
        "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.", None,
    )  # fmt: skip
    assert refusal(embed(counter, ["a", ""])) == many
    long = refusal(embed(counter, ["a", "x" * 4 * 8193]))
    assert "maximum context length is 8192 tokens, however you requested 8193 tokens" in long["message"]
    assert (long["type"], long["code"], long["param"]) == ("invalid_request_error", None, None)
    assert embed(counter, ["x" * 4 * 8000] * 37).status == 200
    full = refusal(embed(counter, ["x" * 4 * 8000] * 38))
    assert full["message"] == "Requested 304000 tokens, max 300000 tokens per request"
    assert full["type"] == full["code"] == "max_tokens_per_request"


def test_together_has_no_limit_of_its_own_and_can_be_given_some(desk):
    assert embed(desk(), ["a"] * 3000, E5).status == 200
    counter = desk(max_texts=3, max_request_tokens=900, long_texts="refuse")
    assert embed(counter, ["a"] * 3, E5).status == 200
    many = embed(counter, ["a"] * 4, E5)
    assert (many.status, refusal(many)["message"]) == (413, "batch size 4 > maximum allowed batch size 3")
    long = embed(counter, ["a", "x" * 4 * 515], E5)
    assert long.status == 422
    assert refusal(long)["message"] == "Input validation error: `inputs` must have less than 514 tokens. Given: 515"
    full = embed(counter, ["x" * 4 * 500] * 2, E5)
    assert (full.status, refusal(full)["type"]) == (400, "max_tokens_per_request")


def test_what_is_cut_silently_has_the_vector_of_its_beginning(desk):
    text = "ä" * 3000
    long, short, other = json.loads(embed(desk(), [text, text[: 2 * 514], text[:100]], E5).body)["data"]
    assert long["embedding"] == short["embedding"] != other["embedding"]
    assert embed(desk(flavour="openai", long_texts="cut"), ["x" * 4 * 9000]).status == 200


def test_dimensions_are_given_by_those_who_know_them_and_refused_by_the_rest(desk):
    openai = desk(flavour="openai")
    assert len(json.loads(embed(openai, TEXTS, dimensions=64).body)["data"][3]["embedding"]) == 64
    for body in ({"dimensions": 1537}, {"dimensions": 0}, {"dimensions": True}, {"dimensions": "64"}):
        assert embed(openai, TEXTS, **body).status == 400
    for counter, model in ((openai, "text-embedding-ada-002"), (desk(), E5)):
        answer = embed(counter, TEXTS, model, dimensions=64)
        assert (answer.status, refusal(answer)["message"]) == (
            400, "This model does not support specifying dimensions.",
        )  # fmt: skip


def test_base64_can_be_refused_or_passed_over(desk):
    assert embed(desk(base64_vectors="refuse"), TEXTS, encoding_format="base64").status == 400
    assert embed(desk(base64_vectors="refuse"), TEXTS, encoding_format="float").status == 200
    item = json.loads(embed(desk(base64_vectors="ignore"), TEXTS, encoding_format="base64").body)["data"][0]
    assert isinstance(item["embedding"], list)


def test_a_poisonous_text_refuses_its_whole_pack_and_is_not_named(desk):
    for flavour in ("together", "openai"):
        counter = desk(flavour=flavour, poison="POISON")
        answer = embed(counter, [*TEXTS, "some POISON", *TEXTS])
        assert answer.status == 400
        assert "POISON" not in answer.body.decode()
        assert not any(digit in refusal(answer)["message"] for digit in "0123456789")
        assert not counter.ledger.entries[-1].billed


# ------------------------------------------------------------------------------------------------------- gone bad


def spoiled(desk, kind, form="float", texts=TEXTS):
    counter = desk(flavour="openai", faults={kind: 1.0}, embedding_dimensions=8)
    answer = embed(counter, texts, encoding_format=form)
    assert answer.status == 200
    assert counter.ledger.entries[-1].billed
    return answer.body, counter.ledger.entries[-1]


def good(text):
    return vector_of(SMALL, text, 8)


@pytest.mark.parametrize("kind", ["nan_vector", "infinite_vector"])
def test_numbers_that_are_none_come_as_no_json_and_as_base64(desk, kind):
    odd = math.isnan if kind == "nan_vector" else math.isinf
    body, entry = spoiled(desk, kind)
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(body)
    assert entry.usage is None, "nobody can have read it"
    assert [n for n, item in enumerate(json.loads(body)["data"]) if odd(item["embedding"][0])] == [5]
    body, entry = spoiled(desk, kind, "base64")
    assert entry.usage is not None
    vectors = [floats(item["embedding"]) for item in json.loads(body)["data"]]
    assert [n for n, vector in enumerate(vectors) if any(map(odd, vector))] == [5]
    assert all(len(vector) == 8 for vector in vectors)


@pytest.mark.parametrize("form", ["float", "base64"])
def test_vectors_are_missing_too_many_or_of_the_wrong_size(desk, form):
    def sizes(kind):
        return [len(floats(item["embedding"])) for item in json.loads(spoiled(desk, kind, form)[0])["data"]]

    assert sizes("fewer_vectors") == [8] * 9
    assert sizes("more_vectors") == [8] * 11
    assert sizes("short_vector") == [8] * 5 + [7] + [8] * 4
    assert sizes("other_dimensions") == [7] * 10
    assert json.loads(spoiled(desk, "null_vector", form)[0])["data"][5]["embedding"] is None


@pytest.mark.parametrize("texts", [TEXTS, ["alone"]])
def test_places_are_wrong_or_taken_twice(desk, texts):
    def places(kind):
        return [item["index"] for item in json.loads(spoiled(desk, kind, texts=texts)[0])["data"]]

    assert len(texts) in places("wrong_index")
    assert sorted(places("double_index")) != list(range(len(texts)))


def test_shuffled_vectors_keep_their_places(desk):
    body, entry = spoiled(desk, "shuffled")
    data = json.loads(body)["data"]
    assert [item["index"] for item in data] != sorted(item["index"] for item in data)
    assert {item["index"]: item["embedding"] for item in data} == {n: good(text) for n, text in enumerate(TEXTS)}
    assert entry.usage is not None


@pytest.mark.parametrize("kind", ["cut_base64", "half_number"])
def test_base64_is_cut_in_a_character_or_in_a_number(desk, kind):
    data = json.loads(spoiled(desk, kind, "base64")[0])["data"]
    if kind == "cut_base64":
        with pytest.raises(ValueError, match=r"padding|number of data characters"):
            base64.b64decode(data[5]["embedding"], validate=True)
    else:
        assert len(base64.b64decode(data[5]["embedding"], validate=True)) == 30
    data = json.loads(spoiled(desk, kind)[0])["data"]
    assert [item["embedding"] for item in data] == [good(text) for text in TEXTS], "numbers have no base64"


@pytest.mark.parametrize("kind", sorted(VECTOR_KINDS))
def test_what_is_no_embedding_is_answered_as_ever(desk, kind):
    assert desk(faults={kind: 1.0}).chat().body == desk().chat().body


def test_the_ledger_counts_the_texts_that_were_embedded(desk):
    counter = desk(poison="POISON")
    for texts in (TEXTS, "alone", ["twice", "twice"], [*TEXTS, "POISON"]):
        embed(counter, texts)
    counter.post("/v1/completions", {"model": "m", "prompt": "no text to embed"})
    assert [entry.texts for entry in counter.ledger.entries] == [10, 1, 2, 0, 0]
    assert counter.ledger.stats()["texts"] == 13
