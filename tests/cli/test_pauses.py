"""The flags of pauses and deadlines, and pauses as people see them."""

from pathlib import Path

import anyio
import pytest

from batchrunner.api import PauseView, Snapshot, Tail
from batchrunner.cli.live import last_line, show
from batchrunner.cli.pauses import pause_text, short_text
from tests.cli.conftest import CHAT, HOSTILE, chat, provider, run_cli, write


def view(**more: object) -> PauseView:
    facts = {"ref": "together", "cause": "auth", "message": "HTTP 401", "since": 1_795_000_000_000_000}
    return PauseView(**{**facts, "waits": True, "next_probe": 60.0, **more})  # type: ignore[arg-type]


def picture(**more: object) -> Snapshot:
    numbers = dict.fromkeys(
        (
            "elapsed", "succeeded", "failed", "retried", "attempts", "air", "concurrency", "calls_per_second",
            "tokens_in_per_second", "tokens_out_per_second", "tokens_in", "tokens_out", "recorded", "estimated",
            "possibly_billed", "wasted", "unpriced",
        ),
        0,
    )  # fmt: skip
    rest = {"errors": {}, "lanes": (), "stopping": None, "total": 12_345}
    return Snapshot(**{**numbers, **rest, **more})  # type: ignore[arg-type]


def test_a_pause_says_since_when_why_what_waiting_costs_and_what_is_next() -> None:
    text = pause_text(view(), picture(succeeded=345))
    for words in (
        "paused together since ", "the key is refused: HTTP 401", "costs nothing but time: 12,000 requests left",
        "0 calls in flight", "one request is tried in 1m 00s",
    ):  # fmt: skip
        assert words in text


def test_a_pause_that_is_not_waited_for_says_that_its_rows_stay_queued() -> None:
    assert "stays queued for the next run" in pause_text(view(waits=False), picture())
    assert short_text(view(waits=False)).startswith("stopped together")


def test_an_unknown_cause_is_an_outage_and_nothing_in_it_steers_the_terminal() -> None:
    text = pause_text(view(cause="overloaded", ref=HOSTILE, message=HOSTILE), picture())
    assert "the service does not answer" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_the_line_of_a_run_names_its_tail() -> None:
    line = last_line(picture(tail=Tail(5, 3, 725.0, 0, 0)))
    assert "3 rows older than 10 min, the oldest 12m 05s" in line
    assert "older" not in last_line(picture())


def test_the_line_of_a_run_tells_how_soon_streamed_answers_begin() -> None:
    assert "in flight, first token after 0.42 s, $" in last_line(picture(ttft=0.4219))
    assert "token" not in last_line(picture())


@pytest.mark.usefixtures("virtual_time")
async def test_d23_a_note_comes_once_with_the_lines_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    quiet, noting = picture(), picture(notes=("the log has grown\x1b[2J",))
    with anyio.move_on_after(100):
        await show(lambda: quiet if anyio.current_time() < 45 else noting, "plain")
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("note: the log has grown") for line in lines] == [False, False, True, False]
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--until", "soon"), "06:30"),
        (("--until", "2001-01-01T00:00"), "has passed"),
        (("--for", "-1h"), "such as"),
        (("--on-pause", "shrug"), "wait"),
        (("--notify", "http://example.com/x"), "https://"),
        (("--notify", "say 'hello"), "quotes"),
    ],
)
def test_what_can_not_be_used_is_refused_before_anything_is_sent(here: Path, words: tuple[str, ...], said: str) -> None:
    write(here / "job.jsonl", [chat("a", "one")])
    with provider() as env:
        ended = run_cli("run", "job.jsonl", "--yes", *words, env=env)
    assert ended.exit_code == 2, ended.output
    assert said in ended.output


def test_a_project_file_can_neither_start_a_command_nor_tell_a_stranger(here: Path) -> None:
    (here / "batchrunner.toml").write_text('notify = "touch pwned"\n')
    write(here / "job.jsonl", [chat("a", "one")])
    with provider() as env:
        ended = run_cli("run", "job.jsonl", "--yes", env=env)
    assert ended.exit_code == 2, ended.output
    assert "notify" in ended.output
    assert not (here / "pwned").exists()


def test_status_names_the_pause_that_ended_the_last_run(here: Path) -> None:
    write(here / "job.jsonl", [chat(f"r-{i}", "one") for i in range(8)])
    with provider(missing_models=(CHAT,)) as env:
        ended = run_cli("run", "job.jsonl", "--yes", env=env)
        assert ended.exit_code == 7, ended.output
        assert CHAT in ended.output
        assert "model_unavailable" in run_cli("status", "1", env=env).output
