"""The spill keeps what was given to it, to the byte, and gives nothing else back, whatever happened to the file."""

import errno
import os
import stat
import struct
import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.attempt import Billing, Failure, FailureKind, Reply, Use
from batchrunner.core.continuation import Artifact, Continuation, Step
from batchrunner.core.corpus import Half, Vectors
from batchrunner.core.request import Closing, Continued, Head, Opening, Release, Settled
from batchrunner.core.retry import AskAgain, FallBack, GiveUp, GoOn, RetryAt, Scope, Split, Stop, Succeed
from batchrunner.core.usage import Usage, UsageFrom
from batchrunner.runner import spill
from batchrunner.runner.spill import MAGIC, Spill
from batchrunner.runner.spilled import record_of

HEAD = Head(1, 1, 1, "/v1/chat/completions", None, 0, 0, 0, 5, 6, b"d" * 16)
NUMBERS = st.integers(0, 2**62)
WORDS = st.none() | st.text(max_size=8)
AMOUNTS = [st.integers(0, 10**9)] * (len(Usage._fields) - 1)
USAGES = st.none() | st.tuples(*AMOUNTS, st.none() | NUMBERS).map(Usage._make)
REPLIES = st.builds(
    Reply, st.integers(200, 299), st.binary(max_size=64), USAGES, st.none() | st.binary(max_size=9), WORDS, WORDS,
    WORDS, vectors=st.none() | st.builds(Vectors, st.binary(max_size=64), NUMBERS, NUMBERS),
)  # fmt: skip
FAILURES = st.builds(
    Failure, st.sampled_from(FailureKind), st.text(max_size=8), st.sampled_from(Billing), st.none() | NUMBERS,
    st.binary(max_size=64), st.none() | st.floats(0, 1e6), USAGES, st.none() | st.binary(max_size=9), WORDS, WORDS,
    st.none() | st.binary(max_size=9),
)  # fmt: skip
HALVES = st.builds(Half, st.binary(max_size=8), NUMBERS, NUMBERS)
VERDICTS = st.one_of(
    st.builds(RetryAt, NUMBERS, st.booleans()),
    st.builds(GiveUp, st.sampled_from(FailureKind)),
    st.builds(AskAgain, NUMBERS, st.binary(max_size=8), NUMBERS, st.none() | NUMBERS, st.booleans()),
    st.builds(FallBack, st.sampled_from(FailureKind)),
    st.builds(Split, NUMBERS, HALVES, HALVES),
    st.builds(Stop, st.sampled_from(Scope), st.sampled_from(FailureKind), st.text(max_size=8)),
)
ENDS = st.one_of(st.tuples(REPLIES, st.just(Succeed())), st.tuples(FAILURES, VERDICTS))
CLOSINGS = st.builds(
    lambda number, head_id, end, money, usage, ttft, sent: Closing(
        number, Opening(HEAD._replace(id=head_id), 7, money, money), 8, *end, Billing.BILLED, Use.USED, usage,
        UsageFrom.PROVIDER, money, 0.25, ttft, sent,
    ),
    NUMBERS, NUMBERS, ENDS, st.none() | NUMBERS, USAGES, st.none() | st.floats(0, 1e6),
    st.none() | st.binary(min_size=16, max_size=16),
)  # fmt: skip


FILES = st.lists(st.builds(Artifact, *[st.text(max_size=8)] * 3, NUMBERS, st.text(max_size=8)), max_size=2).map(tuple)
CONTINUATIONS = st.builds(
    Continuation, st.sampled_from(Step), st.text(max_size=8), st.binary(max_size=64), st.text(max_size=8), WORDS,
    NUMBERS, NUMBERS, NUMBERS, FILES,
)  # fmt: skip
CONTINUED = st.builds(
    Continued, NUMBERS, st.just(Opening(HEAD, 7, None, 9)), CONTINUATIONS, st.builds(GoOn, NUMBERS, st.booleans())
)
SETTLED = st.builds(Settled, NUMBERS, NUMBERS, FILES)


def answer(number: int, body: bytes = b"an answer") -> Closing:
    outcome = Reply(200, body, None)
    opening = Opening(HEAD._replace(id=number), 7, None, None)
    return Closing(
        number, opening, 8, outcome, Succeed(), Billing.BILLED, Use.USED, None, UsageFrom.NONE, None, 0.0
    )  # fmt: skip


def written(
    folder: Path, closings: list[Closing], released: list[Release], beside: spill.Beside = spill.NOTHING_BESIDE
) -> Path:
    kept = Spill(str(folder / "q.db"))
    assert kept.write(closings, released, beside) == len(closings) + len(beside.continued)
    kept.end()
    return folder / "q.db.spill"


@given(
    closings=st.lists(CLOSINGS, max_size=4),
    released=st.lists(st.builds(Release, NUMBERS, st.just(HEAD)), max_size=2),
    continued=st.lists(CONTINUED, max_size=2),
    settled=st.lists(SETTLED, max_size=2),
)
def test_what_comes_out_is_what_went_in(tmp_path_factory, closings, released, continued, settled):
    folder = tmp_path_factory.mktemp("spill")
    if not (closings or released or continued or settled):
        released = [Release(1, HEAD)]
    content = spill.read(str(written(folder, closings, released, spill.Beside(continued, settled))))
    assert content == (closings, released, continued, settled, 0)


def test_a_spill_of_a_version_that_knew_tokens_only_is_taken_in(tmp_path):
    """Heads had eleven fields then, and usages four."""
    reply = [200, b"an answer", [10, 4, 3, 1], None, None, None, None]
    opening = [list(HEAD[:11]), 7, 1, 50]
    kept = [5, opening, 8, reply, None, None, None, None, "billed", "used", [10, 4, 3, 1], "provider", 9, 0.5]
    payload = msgspec.msgpack.encode([kept])
    path = tmp_path / "q.db.spill"
    path.write_bytes(MAGIC + struct.pack("<II", len(payload), zlib.crc32(payload)) + payload)
    (closing,) = spill.read(str(path)).closings
    assert closing.usage == closing.outcome.usage == Usage(10, 4, 3, 1)
    assert closing.opening.head == HEAD


def test_a_file_that_was_cut_anywhere_gives_back_what_came_before_the_cut(tmp_path):
    closings = [answer(number, b"answer %d" % number) for number in range(1, 6)]
    path = written(tmp_path, closings, [])
    whole, seen = path.read_bytes(), []
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        content = spill.read(str(path))
        assert content.damaged == 0
        assert content.closings == closings[: len(content.closings)]
        seen.append(len(content.closings))
    assert seen == sorted(seen)
    assert set(seen) == set(range(6))


def test_a_flipped_byte_costs_an_answer_and_never_changes_one(tmp_path):
    closings = [answer(number, b"answer %d" % number) for number in range(1, 4)]
    path = written(tmp_path, closings, [])
    whole = path.read_bytes()
    for place in range(len(MAGIC), len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        assert all(closing in closings for closing in spill.read(str(path)).closings)


def test_another_file_is_not_taken_for_a_spill(tmp_path):
    path = tmp_path / "q.db.spill"
    path.write_bytes(b"somebody's own notes")
    with pytest.raises(ValueError, match="not a spill"):
        spill.read(str(path))


def test_only_its_owner_may_read_it_and_an_older_one_is_left_alone(tmp_path):
    before = os.umask(0)
    try:
        path = written(tmp_path, [answer(1)], [])
        old = path.read_bytes()
        kept = Spill(str(tmp_path / "q.db"))
        kept.write([answer(2)], [])
        kept.end()
    finally:
        os.umask(before)
    assert path.read_bytes() == old
    assert spill.found(str(tmp_path / "q.db")) == [str(path), str(tmp_path / "q.db.spill.2")]
    assert {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()} == {0o600}


def test_a_link_that_lies_in_wait_is_not_written_through(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "q.db.spill").symlink_to(tmp_path / "victim")
    kept = Spill(str(tmp_path / "q.db"))
    kept.write([answer(1)], [])
    kept.end()
    assert (tmp_path / "victim").read_text() == "precious"
    assert kept.paths == [str(tmp_path / "q.db.spill.2")]


def limit(monkeypatch, file_bytes, disk_bytes=10**9):
    """Let files take so many bytes, and all of them together so many more."""
    real, left = os.pwrite, [disk_bytes]

    def pwrite(descriptor, data, place):
        room = min(file_bytes - place, left[0])
        if room <= 0:
            raise OSError(errno.EFBIG if left[0] else errno.ENOSPC, "no more")
        done = real(descriptor, data[:room], place)
        left[0] -= done
        return done

    monkeypatch.setattr(os, "pwrite", pwrite)


def test_d2_a_limit_on_file_sizes_is_met_by_more_files(tmp_path, monkeypatch):
    limit(monkeypatch, 1_000)
    closings = [answer(number, os.urandom(300)) for number in range(1, 12)]
    kept = Spill(str(tmp_path / "q.db"))
    assert kept.write(closings, []) == 11
    kept.end()
    assert len(kept.paths) > 3
    assert [closing for path in kept.paths for closing in spill.read(path).closings] == closings


def test_a_disk_that_takes_only_some_answers_is_said_to_have_taken_only_those(tmp_path, monkeypatch):
    limit(monkeypatch, 10**6, 1_000)
    closings = [answer(number, os.urandom(300)) for number in range(1, 12)]
    kept = Spill(str(tmp_path / "q.db"))
    taken = kept.write(closings, [])
    assert 0 < taken < 11
    assert spill.read(kept.paths[0]).closings == closings[:taken]
    with pytest.raises(OSError, match="no more"):
        kept.write(closings[taken:], [])
    kept.end()
    assert spill.read(kept.paths[0]).closings == closings[:taken]


def test_a_spill_of_the_first_release_is_taken_in_although_it_knows_less(tmp_path):
    failure = Failure(FailureKind.TIMEOUT, "late", Billing.UNKNOWN)
    broken = answer(2)._replace(outcome=failure, verdict=GiveUp(FailureKind.TIMEOUT))
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(record_of(broken).kept))[:14]
    kept[1][0] = kept[1][0][:11]
    kept[4] = kept[4][:10]
    payload = msgspec.msgpack.encode([kept])
    path = tmp_path / "q.db.spill"
    path.write_bytes(MAGIC + struct.pack("<II", len(payload), zlib.crc32(payload)) + payload)
    assert spill.read(str(path)).closings == [broken]


def test_what_a_provider_said_can_be_no_text_at_all_and_its_answer_is_kept(tmp_path):
    odd = answer(1)._replace(outcome=Reply(200, b"x", None, model="\ud800", request_id="\udfff"))
    (read,) = spill.read(str(written(tmp_path, [odd], []))).closings
    assert (read.outcome.body, read.outcome.model) == (b"x", "?")
