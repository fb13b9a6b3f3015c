"""The script of each fault of the wire, without a socket: what leaves, and how the connection is left."""

import itertools
import json
import zlib

import pytest

from batchrunner.simulator import Answer, Settings
from batchrunner.simulator.faults import BROKEN_KINDS, UNANSWERED_KINDS, WHOLE_KINDS, WIRE_KINDS
from batchrunner.simulator.spoiled import SAME_ID
from batchrunner.simulator.wire import Ending, bomb, script

GOOD = b'{"system_fingerprint":"fp_0123456789ab","text":"[echo 0123456789ab] yes"}'


def played(kind, most=2000, **settings):
    """Bytes, waits and ending of a script, cut after so many steps where it has no end."""
    answer = Answer(number=1, status=200, headers={"x-sim": "1"}, body=GOOD, fault=kind)
    steps = list(itertools.islice(script(answer, Settings(**settings)), most))
    raw = b"".join(step for step in steps if isinstance(step, bytes))
    waits = [step for step in steps if isinstance(step, float | int)]
    ends = [step for step in steps if isinstance(step, Ending)]
    return raw, waits, ends


def parts(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    return head.decode("latin-1"), body


@pytest.mark.parametrize("kind", sorted(WIRE_KINDS))
def test_every_kind_has_a_script_that_leaves_the_connection_at_most_once(kind):
    raw, _, ends = played(kind, most=400)
    assert len(ends) <= 1
    has_head = raw.startswith(b"HTTP/1.1 200 OK\r\n") and b"\r\n\r\n" in raw
    assert has_head == (kind in BROKEN_KINDS | WHOLE_KINDS)


def test_the_kinds_are_told_apart_by_how_much_of_the_answer_leaves():
    assert not UNANSWERED_KINDS & BROKEN_KINDS
    assert not WHOLE_KINDS & (UNANSWERED_KINDS | BROKEN_KINDS)
    for kind in WHOLE_KINDS:
        assert GOOD in played(kind)[0], kind


def test_a_stray_is_a_whole_second_answer_to_another_call_on_a_connection_that_stays():
    raw, _, ends = played("stray")
    first, second = raw.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert parts(first)[1] == GOOD
    body = json.loads(parts(second)[1])
    assert body == {"system_fingerprint": "fp_000000000000", "text": "[echo 000000000000] yes"}
    assert "x-sim-for: stray" in parts(second)[0]
    assert ends == [Ending.KEEP]


def test_lengths_lie_as_their_names_say():
    short, body = parts(played("short_length")[0])
    assert f"Content-Length: {len(GOOD) * 2 // 3}" in short
    assert body == GOOD
    assert parts(played("two_lengths")[0])[0].count("Content-Length: ") == 2
    for kind in ("no_length", "no_length_cut"):
        assert "Content-Length" not in parts(played(kind)[0])[0]


def test_the_bomb_is_small_on_the_wire_and_huge_when_it_goes_off():
    assert len(bomb()) < 1 << 20
    packed, size = bomb(64 << 20), 0
    while packed:
        unpacker = zlib.decompressobj(31)
        size += len(unpacker.decompress(packed))
        packed = unpacker.unused_data
    assert size == 64 << 20
    assert len(parts(played("bomb_twice")[0])[1]) < 10_000


def test_heads_are_huge_hold_nul_or_are_none():
    assert len(parts(played("huge_head")[0])[0]) > 100_000
    assert b"\0" in played("nul_head")[0]
    assert not played("not_http")[0].startswith(b"HTTP")


def test_hangs_and_promises_never_end_by_themselves():
    assert played("hang") == (b"", [float("inf")], [])
    assert played("hang_mid", hang_seconds=2)[1] == [2]
    assert 0 < len(played("hang_head")[0]) < 200
    raw, waits, _ = played("promises", most=100, drip_interval=0)
    assert raw == b"HTTP/1.1 102 Processing\r\n\r\n" * 50
    assert min(waits) > 0


def test_endless_bodies_are_endless_and_huge_ones_are_not():
    assert len(played("endless", most=500)[0]) > 30 << 20
    assert len(parts(played("huge")[0])[1]) > 90_000_000


def test_odd_answers_are_odd_in_the_named_way(desk):
    def body(kind):
        return desk(faults={kind: 1.0}).chat().body

    assert json.loads(body("null200")) is None
    assert isinstance(json.loads(body("array200"))[0], dict)
    assert body("deep200").startswith(b"[[[[")
    assert "finish_reason" not in json.loads(body("no_finish"))["choices"][0]
    assert json.loads(body("same_id"))["id"] == SAME_ID
    assert b"9" * 5000 in body("odd_json")
    assert desk(faults={"absurd_limits": 1.0}).chat().headers["x-ratelimit-remaining"] == "-1"
    assert desk(faults={"status205": 1.0}).chat().status == 205


def test_usage_is_absurd_in_several_ways_and_never_counted_as_told(desk):
    counter = desk(faults={"absurd_usage": 1.0})
    told = {json.dumps(json.loads(counter.chat("x" * number).body)["usage"]) for number in range(12)}
    assert len(told) > 2
    assert {entry.usage for entry in counter.ledger.entries} == {None}
    assert all(entry.output_tokens > 0 for entry in counter.ledger.entries)


def test_a_redirect_names_where_to_and_bills_nothing(desk):
    counter = desk(faults={"redirect": 1.0}, redirect_to="http://127.0.0.1:1/x")
    answer = counter.chat()
    assert (answer.status, answer.headers["Location"]) == (307, "http://127.0.0.1:1/x")
    assert not counter.ledger.entries[-1].billed


def test_a_double_is_an_answer_that_another_call_had_long_ago(desk):
    counter = desk(fault_for=lambda number, _path, _body: "double" if number in (2, 70) else None)
    bodies = [counter.chat(f"question {number}").body for number in range(1, 71)]
    assert bodies[69] in bodies[:20]
    assert len(set(bodies)) == 69, "too early for a double, the second call got its own"
    assert counter.ledger.entries[-1].billed
    assert counter.ledger.entries[-1].usage is None


def test_an_outage_lasts_from_then_till_then(desk, clock):
    counter = desk(outages=((10.0, 20.0),))
    statuses = []
    for _ in range(5):
        statuses.append(counter.chat().status)
        clock.time += 5.0
    assert statuses == [200, 200, 503, 503, 200]
