"""Streams over a real socket: a runner that is killed in the middle of them, one that waits for silence in vain."""

import csv
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.canary import CANARY_KEY
from tests.e2e.place import Ended, Place, boxed, chats, placed, quiet
from tests.invariants import Scenario, broken

pytestmark = pytest.mark.slow

PACE: dict[str, Any] = {"latency": 0.1, "tokens_per_second": 30, "mean_output_tokens": 45, "output_spread": 0}
"""Every answer takes a second and a half."""


def streamed(rows: int, prefix: str = "r") -> list[dict[str, Any]]:
    """Three streams to one plain row."""
    lines = chats(rows, prefix)
    for n, line in enumerate(lines):
        line["body"] |= {"stream": True} if n % 4 else {}
    return lines


def checked(place: Place, ended: Ended) -> list[str]:
    outputs = [place.folder / "out.jsonl", place.folder / "out.errors.jsonl"]
    return broken(
        Scenario(
            db=place.db, calls=place.box.calls(), job=place.folder / "job.jsonl", outputs=outputs, key=place.key,
            folders=[place.folder, place.talk], code=ended.code, err=ended.err,
        )
    )  # fmt: skip


def test_a_runner_killed_in_the_middle_of_streams_loses_nothing_and_the_next_one_goes_on(tmp_path: Path) -> None:
    with boxed(**PACE) as box, placed(tmp_path, box, CANARY_KEY) as place:
        place.file(streamed(16))
        for kill in range(2):
            child = place.start(*place.job("--concurrency", "8"))
            box.await_calls(box.arrived + 8)
            time.sleep(0.6 + 0.3 * kill)
            assert child.kill()
            assert place.states()["running"] == 8
        ended = place.run(*place.job("--concurrency", "8"))
        assert (ended.code, quiet(ended.err)) == (0, True)
        assert "8 calls open: possibly billed" in ended.err
        assert checked(place, ended) == []
        cut = [call for call in box.calls() if call.streamed and not call.written]
        assert cut
        assert any(call.sent_bytes > 1000 for call in cut), "no stream was killed in its middle"
        for n, line in enumerate(place.lines()):
            assert ("ttft_ms" in line["batchrunner"]) == bool(n % 4)
            assert line["response"]["body"]["usage"]["completion_tokens"] == 45
        assert place.rows("SELECT count(*) FROM attempts WHERE outcome = 'lost'")[0][0] == 16


def test_silence_ends_a_stream_and_its_part_is_kept_on_request(tmp_path: Path) -> None:
    def stalls(_number: int, _path: str, body: bytes) -> str | None:
        return "stream_stall" if b"question 1 " in body else None

    with boxed(stalls, latency=0.3, mean_output_tokens=40) as box, placed(tmp_path, box, CANARY_KEY) as place:
        place.file(chats(4))
        flags = ("--stream", "--idle-timeout", "1s", "--keep-partial", "--concurrency", "4")
        ended = place.run(*place.job(*flags))
        assert (ended.code, quiet(ended.err)) == (3, True)
        assert checked(place, ended) == []
        assert all(call.streamed for call in box.calls())
        (bad,) = place.lines("out.errors.jsonl")
        assert (bad["custom_id"], bad["error"]["code"]) == ("r-1", "timeout")
        assert "silent for 1 s in the middle" in bad["error"]["message"]
        assert bad["batchrunner"]["partial"] is True
        assert bad["batchrunner"]["billing"] == "unknown"
        assert bad["response"]["body"]["choices"][0]["message"]["content"].startswith("[echo ")
        assert {line["custom_id"] for line in place.lines()} == {"r-0", "r-2", "r-3"}
        table = place.run("results", "1", "--db", "q.db", "-o", "out.csv")
        assert table.code == 0, table.err
        parts = [row for row in csv.DictReader((place.folder / "out.csv").read_text().splitlines()) if row["partial"]]
        assert [(row["custom_id"], row["text"][:6], row["error_kind"]) for row in parts] == [
            ("r-1", "[echo ", "timeout")
        ]
        status = json.loads(place.run("status", "--json", "--db", "q.db").out)
        assert float(status["jobs"][0]["costs"]["usd"]["possibly_billed"]) > 0
