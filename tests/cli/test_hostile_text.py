"""Nothing that came from a file or a server may steer the terminal, and nothing is lost in JSON."""

import json
import sqlite3
import unicodedata
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import HOSTILE, run_cli

READS = [
    ("status",),
    ("status", "mixed"),
    ("errors", "mixed"),
    ("costs", "--by", "model,job"),
    ("status", "mixed", "--json"),
    ("errors", "mixed", "--json"),
    ("costs", "--by", "job", "--json"),
    ("retry", "mixed"),
]


@pytest.fixture
def hostile(worked: Path) -> Path:
    """A queue that somebody sent us, or that a hostile provider wrote into."""
    with closing(sqlite3.connect(worked / "batchrunner.db")) as other, other:
        other.execute("UPDATE requests SET custom_id = custom_id || ?", (HOSTILE,))
        other.execute("UPDATE attempts SET error = ? WHERE error IS NOT NULL", (HOSTILE,))
        other.execute("UPDATE models SET model = model || ?", (HOSTILE,))
        other.execute("UPDATE jobs SET path = ?, tags = ?", (f"/{HOSTILE}", json.dumps({"k": HOSTILE})))
        other.execute("UPDATE runners SET host = ?", (HOSTILE,))
        other.execute(
            "INSERT INTO pauses (scope, ref, reason, evidence, since) VALUES ('provider', 'together', ?, '', 1)",
            (HOSTILE,),
        )
    return worked


def steering(text: str) -> list[str]:
    return [char for char in text if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp")]


@pytest.mark.parametrize("words", READS, ids=" ".join)
def test_s7_no_verb_prints_what_could_steer_a_terminal(hostile: Path, words: tuple[str, ...]) -> None:
    result = run_cli(*words)

    assert result.exit_code == 0, result.stderr
    assert steering(result.stdout) == []
    assert steering(result.stderr) == []


def test_s7_a_hostile_job_name_is_shown_and_harmless(worked: Path) -> None:
    result = run_cli("status", f"no such job {HOSTILE}")

    assert result.exit_code == 2
    assert steering(result.output) == []


def test_s7_json_gives_back_the_very_same_text(hostile: Path) -> None:
    (group,) = json.loads(run_cli("errors", "mixed", "--json").stdout)["groups"]

    assert group["sample"]["custom_id"] == f"bad-1{HOSTILE}"
    assert group["sample"]["message"] == HOSTILE
