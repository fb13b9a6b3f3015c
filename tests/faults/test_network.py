"""What a network can do to a call, row by row of the fault catalogue (N1 to N29), as a whole job lives through it.

Rows that only the transport can be asked about byte by byte (refusals to connect, names, certificates, proxies,
hangs and drips up to a deadline) have their tests in ``tests/transport``; ten thousand calls with strays or races, and
the bombs' memory, are in ``tests/e2e/test_network.py``.
"""

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from tests.canary import CANARY_KEY
from tests.faults.play import RACED, Played, check, mixed, play
from tests.invariants import broken
from tests.transport.raw import serving

pytestmark = pytest.mark.slow

ONCE = (
    *("close_before", "reset_before", "reset_mid", "truncate", "chunk_cut", "bad_chunk", "no_length_cut"),
    *("gzip", "gzip_cut", "bomb", "bomb_twice", "br", "short_length", "stray", "two_lengths", "huge_head", "nul_head"),
    *("not_http", "keepalive_race", "closing", "no_length", "status204", "status205", "status999", "cookies"),
)
ALWAYS = ("huge", "endless")


@pytest.fixture(scope="module")
def job(with_key: None, tmp_path_factory: pytest.TempPathFactory) -> Played:
    return play(tmp_path_factory.mktemp("network"), mixed(ONCE, ALWAYS))


def test_all_invariants_hold_after_every_fault_of_the_network(job: Played) -> None:
    check(job)
    assert broken(replace(job.scenario, key=CANARY_KEY)) == []
    assert set(job.provider.ledger.faults) >= {*ONCE, *ALWAYS} - {"keepalive_race"}
    assert job.report.exit_code == 3


def test_rows_between_the_faults_are_unharmed(job: Played) -> None:
    job.unharmed("good")


def test_n5_closed_before_the_head_may_have_been_billed_and_is_tried_again(job: Played) -> None:
    job.recovered("close_before", "connection")


@pytest.mark.parametrize("kind", ["reset_before", "reset_mid"])
def test_n6_a_reset_before_or_amid_the_answer_is_tried_again(job: Played, kind: str) -> None:
    job.recovered(kind, "connection")


def test_n11_a_body_shorter_than_its_length_is_tried_again(job: Played) -> None:
    job.recovered("truncate", "connection")


def test_n12_a_chunk_that_breaks_off_or_has_no_size_is_tried_again(job: Played) -> None:
    job.recovered("chunk_cut", "connection")
    assert job.state("bad_chunk") == {"succeeded"}
    assert job.failed_calls("bad_chunk") <= {("bad_reply", "unknown"), ("connection", "unknown")}


def test_n13_a_body_cut_where_no_length_was_told_is_no_result(job: Played) -> None:
    job.recovered("no_length_cut", "bad_reply")


def test_n14_a_cut_gzip_member_is_no_result(job: Played) -> None:
    job.recovered("gzip_cut", "bad_reply")


def test_n15_bytes_beyond_the_length_are_never_read_as_the_next_answer(job: Played) -> None:
    job.recovered("short_length", "bad_reply")


def test_n16_a_stray_second_answer_reaches_nobody(job: Played) -> None:
    job.unharmed("stray")
    assert not any(b"fp_000000000000" in body for body in job.bodies("good") + job.bodies("stray"))


@pytest.mark.parametrize("kind", ["two_lengths", "huge_head", "nul_head", "not_http"])
def test_n17_what_is_not_http_is_tried_again_and_told_safely(job: Played, kind: str) -> None:
    job.recovered(kind, "bad_reply")
    told = [end.error or "" for ends in job.ends(kind) for end in ends]
    assert not any("\x1b" in error or "\0" in error or len(error) > 1000 for error in told)


def test_n18_a_kept_alive_connection_closed_under_us_costs_nothing(job: Played) -> None:
    assert job.state("keepalive_race") == {"succeeded"}
    assert job.failed_calls("keepalive_race") <= RACED


@pytest.mark.parametrize("kind", ["closing", "no_length"])
def test_n19_a_server_that_closes_after_each_answer_is_served_by(job: Played, kind: str) -> None:
    job.unharmed(kind)


@pytest.mark.parametrize("kind", ["gzip", "bomb", "bomb_twice", "br"])
def test_n22_n24_a_coding_that_nobody_asked_for_is_refused_unread(job: Played, kind: str) -> None:
    job.recovered(kind, "bad_reply")
    assert all("compressed, which it was asked not to" in (ends[0].error or "") for ends in job.ends(kind))


@pytest.mark.parametrize("kind", ["huge", "endless"])
def test_n23_a_body_without_end_is_given_up_at_the_cap_and_only_its_row_fails(job: Played, kind: str) -> None:
    assert job.state(kind) == {"failed"}
    assert job.failed_calls(kind) == {("response_too_large", "unknown")}


@pytest.mark.parametrize(
    ("kind", "billing"), [("status204", "unknown"), ("status205", "unknown"), ("status999", "billed")]
)
def test_n25_an_odd_status_is_no_result(job: Played, kind: str, billing: str) -> None:
    job.recovered(kind, "bad_reply", billing)


def test_n20_a_redirect_sends_no_byte_to_the_other_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", CANARY_KEY)
    played, heard = anyio.run(redirected, tmp_path)
    assert heard == 0
    check(played)
    assert played.report.exit_code == 7
    assert [halt.kind for halt in played.report.halts] == ["misconfigured"]
    assert played.state("redirect") == {"queued"}


async def redirected(folder: Path) -> tuple[Played, int]:
    async def anything(peer):
        await peer.reader.read(1)

    async with serving(anything) as other:
        lines = mixed((), ("redirect",), each=8)
        act = anyio.to_thread.run_sync
        played = await act(lambda: play(folder, lines, latency=0, redirect_to=f"{other.url}/v1/chat/completions"))
        return played, other.connections
