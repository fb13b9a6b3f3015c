"""``selftest``: it shows what holds, and would show what does not."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchrunner.api.audit import Claim
from batchrunner.cli import faulttrials, trials
from batchrunner.cli.trials import Play, Proof, Trial, leaks
from tests.cli.conftest import run_cli


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The system's folder for temporary files, empty."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def plays(monkeypatch: pytest.MonkeyPatch, *chosen: Play) -> None:
    monkeypatch.setattr(trials, "SOUND", chosen)


def good(root: Path, key: str) -> Trial:
    """A good trial."""
    (root / "words").write_text("nothing")
    return Trial([Proof("the sky is up", "1 of 1")], [Claim("I1", "", ()), Claim("I7", "", ())])


def bad(root: Path, key: str) -> Trial:
    """A bad trial."""
    return Trial([Proof("the sky is up", "0 of 1", ("it fell",))], [Claim("I1", "", ("row 'a' is running",))])


def leaking(root: Path, key: str) -> Trial:
    """A trial that tells the key."""
    (root / "log").write_bytes(b"Authorization: Bearer " + key.encode("utf-16-le"))
    return Trial([], [])


def test_claims_that_hold_are_shown_and_nothing_is_left(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plays(monkeypatch, good, good)
    result = run_cli("selftest")
    assert result.exit_code == 0, result.stderr
    line = next(line for line in result.stdout.splitlines() if line.startswith("every line has one outcome"))
    assert line.split()[-5:] == ["2", "of", "2", "times", "yes"]
    assert "A good trial" in result.stderr
    assert list(temporary.iterdir()) == []


def test_a_claim_that_does_not_hold_ends_with_1_and_its_folder_is_kept_and_named(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plays(monkeypatch, good, bad)
    result = run_cli("selftest", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert not told["held"]
    broken = {claim["claim"]: claim["breaches"] for claim in told["claims"] if not claim["held"]}
    assert broken["the sky is up"] == ["it fell"]
    assert ["row 'a' is running"] in broken.values()
    assert [str(path) in result.stderr for path in temporary.iterdir()] == [True]


def test_a_key_that_leaks_anywhere_is_found(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plays(monkeypatch, leaking)
    result = run_cli("selftest", "--json")
    assert result.exit_code == 1
    assert "the key is in" in result.stdout
    assert list(leaks(temporary, "another-key")) == []


def test_faults_are_tried_only_when_asked_for(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plays(monkeypatch, good)
    monkeypatch.setattr(faulttrials, "FAULTS", (bad,))
    assert run_cli("selftest").exit_code == 0
    assert run_cli("selftest", "--faults").exit_code == 1
    shutil.rmtree(next(temporary.iterdir()))


@pytest.mark.slow
def test_a_trial_plays_for_real(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plays(monkeypatch, trials.revoked)
    result = run_cli("selftest", "--json")
    assert result.exit_code == 0, result.stdout + result.stderr
    told = {claim["claim"]: claim["figure"] for claim in json.loads(result.stdout)["claims"]}
    assert told["a revoked key stops the run and fails no row"].startswith("200 rows left")
    assert list(temporary.iterdir()) == []
