"""``doctor``: every problem with its fix and its exit code."""

import json
from pathlib import Path

import pytest

from batchrunner.cli import machine
from batchrunner.cli.machine import Level
from batchrunner.core.errors import ExitCode
from tests.cli.conftest import provider, run_cli


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ((3, 36, 0), Level.PROBLEM),
        ((3, 37, 0), Level.WARNING),
        ((3, 40, 1), Level.WARNING),
        ((3, 44, 5), Level.WARNING),
        ((3, 44, 6), Level.OK),
        ((3, 45, 0), Level.WARNING),
        ((3, 50, 6), Level.WARNING),
        ((3, 50, 7), Level.OK),
        ((3, 51, 2), Level.WARNING),
        ((3, 51, 3), Level.OK),
        ((3, 52, 0), Level.OK),
        ((4, 0, 0), Level.OK),
    ],
)
def test_sqlite_is_judged_by_the_versions_in_which_the_bug_is_mended(
    version: tuple[int, int, int], level: Level
) -> None:
    assert machine.sqlite(version).level is level


MOUNTS = (
    "proc /proc proc rw 0 0\nserver:/data /mnt/data nfs4 rw 0 0\n"
    "//pc/share /mnt/my\\040share cifs rw 0 0\ntmpfs /mnt/data/ram tmpfs rw 0 0\nbroken\n/dev/vda / ext4 rw 0 0\n"
)


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/srv/jobs", "ext4"),
        ("/mnt/data", "nfs4"),
        ("/mnt/data/deep/er", "nfs4"),
        ("/mnt/database", "ext4"),
        ("/mnt/data/ram/x", "tmpfs"),
        ("/mnt/my share/x", "cifs"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(place: str, kind: str) -> None:
    assert machine.file_system(Path(place), MOUNTS) == kind


def test_without_a_table_of_mounts_nothing_is_claimed() -> None:
    assert machine.file_system(Path("/srv"), "") is None


@pytest.mark.parametrize(
    ("hard", "concurrency", "level"),
    [(None, 10_000, Level.OK), (1024, 960, Level.OK), (1024, 961, Level.PROBLEM), (256, 32, Level.OK)],
)
def test_open_files_are_judged_against_the_concurrency(hard: int | None, concurrency: int, level: Level) -> None:
    finding = machine.allowed(hard, concurrency)

    assert finding.level is level
    assert (finding.code, bool(finding.fix)) == (
        (ExitCode.USAGE, True) if level is Level.PROBLEM else (ExitCode.OK, False)
    )


@pytest.mark.parametrize(
    ("free", "level"), [(0, Level.PROBLEM), (64 << 20, Level.WARNING), (1 << 30, Level.OK)], ids=["full", "low", "good"]
)
def test_free_space_is_judged(free: int, level: Level) -> None:
    assert machine.space(free).level is level


def levels(stdout: str) -> dict[str, str]:
    return {finding["what"]: finding["level"] for finding in json.loads(stdout)["findings"]}


def test_with_a_key_and_a_provider_all_is_well(worked: Path) -> None:
    with provider() as env:
        result = run_cli("doctor", "--json", env=env)

    assert result.exit_code == 0
    found = levels(result.stdout)
    machine = {"python", "sqlite", "folder", "database", "disk", "files", "terminal"}
    assert set(found) == machine | {"key", "host", "network", "endpoint"}
    assert "problem" not in found.values()


def test_a_refused_key_is_a_problem_of_the_endpoint_and_ends_with_6(here: Path, canary_key: str) -> None:
    with provider(api_key="another") as env:
        result = run_cli("doctor", env={**env, "TOGETHER_API_KEY": canary_key})

    assert result.exit_code == 6
    assert canary_key not in result.output
    assert any(line.startswith("problem  endpoint") for line in result.stdout.splitlines())


def test_a_missing_key_ends_with_2_and_nobody_is_asked(here: Path) -> None:
    result = run_cli("doctor", "--json")

    assert result.exit_code == 2
    assert levels(result.stdout)["key"] == "problem"
    assert levels(result.stdout)["endpoint"] == "ok"


def test_a_key_with_quotes_around_it_is_found_before_anything_is_sent(here: Path) -> None:
    result = run_cli("doctor", env={"TOGETHER_API_KEY": '"quoted"'})

    assert result.exit_code == 2
    assert "quotes around it" in result.stdout
    assert "quoted" not in result.stdout.replace("quotes", "")


def test_offline_asks_nobody(here: Path) -> None:
    env = {"TOGETHER_API_KEY": "k", "TOGETHER_BASE_URL": "http://127.0.0.1:1"}

    assert run_cli("doctor", "--offline", env=env).exit_code == 0


def test_a_database_of_somebody_else_ends_with_74(here: Path) -> None:
    (here / "batchrunner.db").write_bytes(b"not a database at all, " * 100)

    result = run_cli("doctor", "--offline", env={"TOGETHER_API_KEY": "k"})

    assert result.exit_code == 74
    assert "problem  database" in result.stdout


def test_a_folder_that_is_not_there_ends_with_74_before_the_missing_key(here: Path) -> None:
    result = run_cli("doctor", "--db", "nowhere/x.db")

    assert result.exit_code == 74
    assert "mkdir -p" in result.stdout


def test_a_database_that_others_may_read_is_warned_of(worked: Path) -> None:
    (worked / "batchrunner.db").chmod(0o644)

    result = run_cli("doctor", "--offline", env={"TOGETHER_API_KEY": "k"})

    assert result.exit_code == 0
    assert "chmod 600" in result.stdout
