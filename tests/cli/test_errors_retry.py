"""``errors`` and ``retry``: what failed, what to do about it, and once more."""

import json
from pathlib import Path

import pytest

from batchrunner.api import door
from batchrunner.cli.errors import ADVICE
from batchrunner.core.attempt import FailureKind
from batchrunner.store.lock import hold
from tests.cli.conftest import provider, run_cli


def queued_now() -> int:
    return json.loads(run_cli("status", "mixed", "--json").stdout)["jobs"][0]["counts"]["queued"]


def test_failures_are_grouped_with_a_sample_and_advice(worked: Path) -> None:
    facts = json.loads(run_cli("errors", "mixed", "--json").stdout)

    (group,) = facts["groups"]
    assert (facts["schema"], facts["failed"]) == ("batchrunner.errors/1", 2)
    assert (group["kind"], group["status"], group["count"]) == ("invalid_request", 400, 2)
    assert group["sdk_class"] == "BadRequestError"
    assert group["sample"]["line"] == 3
    assert "--set" in group["advice"]


def test_people_get_the_advice_and_the_next_command(worked: Path) -> None:
    result = run_cli("errors", "mixed")

    assert result.stdout.splitlines()[2].split()[:4] == ["invalid_request", "400", "BadRequestError", "2"]
    assert "batchrunner retry mixed --kind invalid_request" in result.stderr


def test_no_failures_are_said_to_be_none(queued: Path) -> None:
    result = run_cli("errors", "mixed")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "no failures" in result.stderr


@pytest.mark.parametrize("kind", FailureKind)
def test_there_is_advice_for_every_kind_of_failure(kind: FailureKind) -> None:
    assert len(ADVICE[kind]) > 20


def test_retry_queues_all_failures_again_and_names_the_run(worked: Path) -> None:
    result = run_cli("retry", "mixed", "--json")

    assert json.loads(result.stdout)["queued"] == 2
    assert "next: batchrunner run mixed" in result.stderr
    assert queued_now() == 2


def test_what_was_retried_can_succeed(worked: Path) -> None:
    run_cli("retry", "mixed")

    with provider() as env:  # the poison is gone
        assert run_cli("run", "mixed", "--yes", "--progress", "none", env=env).exit_code == 0
    assert json.loads(run_cli("errors", "mixed", "--json").stdout)["failed"] == 0


def test_retry_by_kind_leaves_other_kinds(worked: Path) -> None:
    assert json.loads(run_cli("retry", "mixed", "--kind", "timeout", "--json").stdout)["queued"] == 0
    assert json.loads(run_cli("retry", "mixed", "--kind", "invalid_request", "--json").stdout)["queued"] == 2


def test_retry_by_id_takes_only_failures_and_says_what_it_missed(worked: Path) -> None:
    result = run_cli("retry", "mixed", "--id", "bad-2", "--id", "good-1")

    assert "1 request queued again" in result.stderr
    assert "1 of these ids" in result.stderr
    assert queued_now() == 1


def test_a_kind_that_does_not_exist_is_a_usage_error_that_lists_them(worked: Path) -> None:
    result = run_cli("retry", "mixed", "--kind", "bad luck")

    assert result.exit_code == 2
    assert "rate_limited" in result.stderr


def test_retry_is_refused_while_somebody_else_writes(worked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "TAKE_WITHIN", 0.2)
    with hold(worked / "batchrunner.db"):
        result = run_cli("retry", "mixed")

    assert result.exit_code == 75
    assert "--wait" in result.stderr
