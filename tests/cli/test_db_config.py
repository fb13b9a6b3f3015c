"""``db`` and ``config``: the database as a file; settings and where each came from."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from batchrunner.runner.artifacts import Artifacts
from batchrunner.store.lock import hold
from tests.cli.conftest import run_cli


def test_the_path_is_printed_whether_it_is_there_or_not(here: Path) -> None:
    assert run_cli("db", "path").stdout == f"{here / 'batchrunner.db'}\n"
    assert run_cli("db", "path", "--db", "other.db").stdout == f"{here / 'other.db'}\n"


def test_a_sound_database_is_found_sound(worked: Path) -> None:
    result = run_cli("db", "check", "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["good"] is True


def test_d14_a_flipped_byte_in_an_answer_is_found_and_ends_with_74(worked: Path) -> None:
    with closing(sqlite3.connect(worked / "batchrunner.db")) as other, other:
        other.execute("UPDATE responses SET body = CAST(replace(body, 'echo', 'ecHo') AS BLOB) WHERE request_id = 1")

    result = run_cli("db", "check")

    assert result.exit_code == 74
    assert "checksum" in result.stdout
    assert "restore a backup" in result.stderr


def test_checking_what_is_not_there_ends_with_74(here: Path) -> None:
    assert run_cli("db", "check").exit_code == 74


def test_a_backup_is_a_whole_queue_and_replaces_nothing(worked: Path) -> None:
    result = run_cli("db", "backup", "copy.db")

    assert result.stdout == f"{worked / 'copy.db'}\n"
    assert run_cli("results", "mixed", "--db", "copy.db").stdout == run_cli("results", "mixed").stdout
    assert (worked / "copy.db").stat().st_mode & 0o077 == 0
    assert run_cli("db", "backup", "copy.db").exit_code == 74


def test_a_backup_says_how_many_files_came_with_it_and_which_it_lacks(worked: Path) -> None:
    folder = Artifacts(str(worked / "batchrunner.db"))
    there, gone = folder.put(b"a file", "body", "", "a"), folder.put(b"another", "body", "", "b")
    with closing(sqlite3.connect(worked / "batchrunner.db")) as other, other:
        for n, file in enumerate((there, gone)):
            values = (1, n, 1, file.place, file.sha256, file.type, file.size, file.name)
            other.execute("INSERT INTO artifacts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)

    result = run_cli("db", "backup", "copy.db")
    assert result.exit_code == 0
    assert f"brought 2 files (13 bytes), copied to {worked / 'copy.db.artifacts'}" in result.stderr
    assert run_cli("db", "check", "--db", "copy.db").exit_code == 0

    (Path(folder.folder) / gone.path).unlink()
    result = run_cli("db", "backup", "other.db")
    assert (result.exit_code, result.stdout) == (74, f"{worked / 'other.db'}\n")
    assert f"not copied: file {gone.path} of request 1 is missing" in result.stderr
    assert (worked / "other.db.artifacts" / there.path).read_bytes() == b"a file"


def test_files_that_no_answer_names_are_told_and_go_when_a_person_asks_and_no_run_lives(worked: Path) -> None:
    stray = Artifacts(str(worked / "batchrunner.db")).put(b"paid, and its row never came", "body", "", "a")
    path = worked / "batchrunner.db.artifacts" / stray.path

    assert json.loads(run_cli("db", "check", "--json").stdout)["unnamed"] == {"files": 1, "bytes": 28, "removed": False}
    assert "1 file (28 bytes) that no answer names" in run_cli("db", "check").stderr
    with hold(worked / "batchrunner.db"):
        assert run_cli("db", "check", "--remove-unnamed").exit_code == 75
    assert path.exists()
    with closing(sqlite3.connect(worked / "batchrunner.db")) as other, other:
        other.execute("UPDATE responses SET crc = crc + 1 WHERE request_id = 1")
    assert run_cli("db", "check", "--remove-unnamed").exit_code == 74
    assert path.exists(), "what is damaged may have lost the row that names it"
    with closing(sqlite3.connect(worked / "batchrunner.db")) as other, other:
        other.execute("UPDATE responses SET crc = crc - 1 WHERE request_id = 1")
    assert "removed 1 file" in run_cli("db", "check", "--remove-unnamed").stderr
    assert not path.exists()


def test_upgrading_the_newest_does_nothing(worked: Path) -> None:
    before = sorted(worked.iterdir())

    result = run_cli("db", "upgrade")

    assert result.exit_code == 0
    assert "newest already" in result.stderr
    assert [path for path in sorted(worked.iterdir()) if "backup" in path.name] == []
    assert [path.name for path in before if path.name == "batchrunner.db"]


def test_upgrading_what_is_not_there_makes_nothing(here: Path) -> None:
    assert run_cli("db", "upgrade").exit_code == 74
    assert list(here.iterdir()) == []


def origin_of(name: str, *words: str, env: dict[str, str] | None = None) -> tuple[object, str]:
    facts = json.loads(run_cli("config", "show", "--json", *words, env=env).stdout)
    (found,) = [each for each in facts["settings"] if each["name"] == name]
    return found["value"], found["origin"]


def test_every_value_says_where_it_came_from(here: Path) -> None:
    (here / "batchrunner.toml").write_text('\nrpm = "3k"\ngrace = "5s"\n')

    assert origin_of("rpm") == (3000.0, f"file {here / 'batchrunner.toml'}:2")
    assert origin_of("rpm", env={"BATCHRUNNER_RPM": "60"}) == (60.0, "environment BATCHRUNNER_RPM")
    assert origin_of("db", "--db", "x.db") == (str(here / "x.db"), "flag --db")
    assert origin_of("confirm_above") == ("1", "default")


def test_a_path_that_is_not_utf8_is_shown_as_escapes_and_survives_json(here: Path) -> None:
    name = os.fsdecode(b"caf\xe9.db")

    assert origin_of("db", "--db", name)[0] == str(here / name)
    assert "caf\\udce9.db" in run_cli("config", "show", "--db", name).stdout


def test_a_key_is_never_shown_only_that_there_is_one(here: Path, canary_key: str) -> None:
    for words in (("config", "show"), ("config", "show", "--json"), ("doctor", "--offline")):
        result = run_cli(*words, env={"TOGETHER_API_KEY": canary_key})
        assert result.exit_code == 0
        assert canary_key not in result.output
    assert origin_of("providers.together.key", env={"TOGETHER_API_KEY": canary_key})[0] == "set"


def test_the_files_that_are_looked_for_are_listed(here: Path) -> None:
    (here / "named.toml").write_text('grace = "5s"\n')

    facts = json.loads(run_cli("config", "path", "--json", "--config", "named.toml").stdout)

    files = {each["kind"]: each for each in facts["files"]}
    assert files["named"] == {"kind": "named", "path": str(here / "named.toml"), "exists": True}
    assert files["project"]["exists"] is False
    assert files["user"]["path"].endswith("config.toml")
