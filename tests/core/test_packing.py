"""Packs: never over a bound, nothing lost, in order, and filled well."""

import itertools

import hypothesis.strategies as st
import pytest
from hypothesis import given

from batchrunner.core.packing import PackBounds, Packer, PackLimits, cut, limits, vector_size

SIZES = st.lists(st.tuples(st.integers(0, 600), st.integers(1, 3_000)), max_size=300)
BOUNDS = st.builds(PackLimits, st.integers(1, 50), st.none() | st.integers(1, 2_000), st.none(), st.integers(1, 20_000))


def packs_of(sizes, bounds):
    packer, packs = Packer(bounds), []
    for n, (tokens, size) in enumerate(sizes):
        if packer.begins(tokens, size):
            packs.append([])
        packs[-1].append(n)
    return packs


@given(SIZES, BOUNDS)
def test_every_text_is_in_one_pack_in_the_order_of_the_source(sizes, bounds):
    assert [n for pack in packs_of(sizes, bounds) for n in pack] == list(range(len(sizes)))


@given(SIZES, BOUNDS)
def test_no_pack_of_several_texts_is_over_any_bound(sizes, bounds):
    for pack in packs_of(sizes, bounds):
        tokens, size = (sum(sizes[n][i] for n in pack) for i in (0, 1))
        within = len(pack) <= bounds.texts and size <= bounds.bytes and tokens <= (bounds.tokens or tokens)
        assert within or len(pack) == 1


@given(SIZES, BOUNDS)
def test_a_pack_is_closed_only_by_a_text_that_does_not_fit(sizes, bounds):
    packs = packs_of(sizes, bounds)
    for pack, following in itertools.pairwise(packs):
        more = [*pack, following[0]]
        tokens, size = (sum(sizes[n][i] for n in more) for i in (0, 1))
        assert len(more) > bounds.texts or size > bounds.bytes or tokens > (bounds.tokens or tokens)


@pytest.mark.slow
@given(st.integers(1, 50), st.lists(st.integers(-2, 2), min_size=2_000, max_size=2_000))
def test_texts_of_about_one_size_fill_packs_to_95_percent(size, jitter):
    bounds = PackLimits(2_048, 5_000, None)
    sizes = [(size + max(1 - size, more), 4 * size) for more in jitter]
    packs = packs_of(sizes, bounds)[:-1]
    filled = [max(len(pack) / 2_048, sum(sizes[n][0] for n in pack) / 5_000) for pack in packs]
    assert all(share >= 0.95 for share in filled)


def test_the_tables_know_the_usual_models_and_what_is_given_goes_before_them():
    assert limits("together", "intfloat/multilingual-e5-large-instruct") == PackLimits(100, None, 514)
    assert limits("openai", "text-embedding-3-large") == PackLimits(126, 300_000, 8_192)
    assert limits("openai", "text-embedding-3-small", 256) == PackLimits(1_517, 300_000, 8_192)
    assert limits("elsewhere", "unknown", None, PackBounds(50, 9, 7)) == PackLimits(50, 9, 7)
    assert limits("elsewhere", "unknown", None, PackBounds(2_048, dimensions=3_840)).texts == 101, (
        "of its answer's size"
    )
    sizes = [vector_size("text-embedding-3-small", *given) for given in ((), (256, PackBounds(dimensions=9)))]
    assert [*sizes, vector_size("unknown", None, PackBounds(dimensions=9)), vector_size("unknown")] == [
        1536,
        256,
        9,
        1536,
    ]


def test_no_flag_makes_an_answer_larger_than_the_memory_has_room_for():
    assert limits("elsewhere", "unknown", 1_024, PackBounds(10_000)).texts * 1_024 * 5.4 <= 2 << 20


@given(st.text(max_size=400), st.integers(1, 20))
def test_the_parts_of_a_cut_text_are_the_text_and_none_is_too_long(text, most):
    parts = cut(text, most)
    assert "".join(parts) == text
    assert all(len(part) == 1 or len(part.encode("utf-8", "replace")) <= 4 * most for part in parts)


def test_texts_are_cut_at_spaces():
    assert cut("one two three four", 2) == ["one two ", "three ", "four"]
