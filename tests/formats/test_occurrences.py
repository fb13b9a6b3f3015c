"""Names of lines that bring none: exact, and in bounded memory."""

import hashlib
from collections import Counter
from contextlib import closing

from hypothesis import given
from hypothesis import strategies as st

from batchrunner.formats.occurrences import BareNames, Occurrences, first_name

# Few enough values to repeat, and close enough to share parts, keys and bits of the bitmap.
NEAR = st.builds(
    lambda top, middle, low: bytes([top, middle, 0, 0, 0, low]),
    st.integers(0, 2),
    st.sampled_from([0, 1, 16, 17]),
    st.integers(0, 3),
)


@given(st.lists(NEAR | st.binary(min_size=6, max_size=6), max_size=300), st.integers(1, 50))
def test_every_value_is_counted_exactly_however_often_the_records_are_written_out(values, held):
    seen = Counter()
    with closing(Occurrences(held)) as occurrences:
        for value in values:
            seen[value] += 1
            assert occurrences.count(value) == seen[value]


def test_a_line_repeated_for_ever_is_counted_on():
    with closing(Occurrences(held=2)) as occurrences:
        counts = [occurrences.count(b"aaaaaa" if n % 3 else n.to_bytes(6, "big")) for n in range(150)]
    assert counts[-1] == 100


def test_names_hold_the_digest_and_the_number_of_the_kind():
    digest = hashlib.sha256(b"{}").hexdigest()[:12]
    with closing(BareNames()) as names:
        assert [names(b"{}"), names(b"{ }"), names(b"{}")] == [
            f"h-{digest}-1",
            f"h-{hashlib.sha256(b'{ }').hexdigest()[:12]}-1",
            f"h-{digest}-2",
        ]
    assert first_name(b"{}") == f"h-{digest}-1"


@given(st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=12), st.randoms(use_true_random=False))
def test_moving_lines_about_changes_no_name(bodies, dice):
    moved = list(bodies)
    dice.shuffle(moved)
    with closing(BareNames()) as names, closing(BareNames()) as others:
        assert sorted(map(names, bodies)) == sorted(map(others, moved))
