"""The files beside a database: a backup has them too, a check knows them all, and only what no row names may go."""

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from batchrunner.core.continuation import Artifact, Continuation, Step, folder_of
from batchrunner.core.errors import DatabaseError
from batchrunner.core.request import Beside, Continued, Settled
from batchrunner.core.retry import GoOn
from batchrunner.runner.artifacts import Artifacts
from batchrunner.store.check import backup, check, unnamed
from batchrunner.store.database import SqliteStore, open_store
from tests.store.making import ACCOUNTS, INFO, NOW, heads, load, start_calls, succeed

CONTENT = [b"\x89PNG\r\n\x1a\n one", b"\x89PNG\r\n\x1a\n two", b"ID3 a sound"]


@pytest.fixture
def kept(tmp_path: Path) -> list[Artifact]:
    folder = Artifacts(str(tmp_path / "q.db"))
    return [folder.put(data, f"data[{n}]", "", "a") for n, data in enumerate(CONTENT)]


@pytest.fixture
def path(tmp_path: Path, kept: list[Artifact]) -> Path:
    """Two answers that share a picture, and a continuation that has a sound already."""
    path = tmp_path / "q.db"
    with open_store(path) as store:
        store.start(INFO, NOW, ACCOUNTS)
        first, second, third = start_calls(store, heads(store, load(store, 3)), rate_id=None)
        settled = (Settled(first[0].attempt_id, 1, (kept[0], kept[1])), Settled(second[0].attempt_id, 2, (kept[0],)))
        going_on = Continuation(Step.FETCH, "", b"{}", "application/json", "r1", NOW, 0, 0, (kept[2],))
        continued = (Continued(third[0].attempt_id, third[1], going_on, GoOn(NOW)),)
        store.commit([], [succeed(first), succeed(second)], [], NOW, beside=Beside(continued, settled))
    return path


def files(folder: Path | str) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in Path(folder).rglob("*") if each.is_file()}


def place(path: Path, artifact: Artifact) -> Path:
    return Path(folder_of(str(path))) / artifact.path


def test_a_backup_has_every_file_that_its_rows_name_also_of_what_is_not_whole_yet(path: Path, tmp_path: Path) -> None:
    aim = tmp_path / "copy.db"
    done = backup(path, aim)
    assert (done.files, done.bytes, done.lacking) == (3, sum(map(len, CONTENT)), [])
    assert sorted(files(folder_of(str(aim))).values()) == sorted(CONTENT)
    assert check(aim) == []
    copies = [each.stat() for each in Path(folder_of(str(aim))).rglob("*")]
    assert [copy.st_mode & 0o077 for copy in copies] == [0] * len(copies)


def test_a_file_of_a_backup_is_no_second_name_of_the_one_that_it_copies(
    path: Path, tmp_path: Path, kept: list[Artifact]
) -> None:
    backup(path, tmp_path / "copy.db")
    with place(path, kept[0]).open("r+b") as file:
        file.write(b"damaged")
    assert place(tmp_path / "copy.db", kept[0]).read_bytes() == CONTENT[0]


def test_a_backup_copies_what_is_not_there_yet_and_what_is_there_and_wrong(
    path: Path, tmp_path: Path, kept: list[Artifact]
) -> None:
    aim = tmp_path / "copy.db"
    backup(path, aim)
    aim.unlink()
    place(aim, kept[1]).write_bytes(b"half of i")
    before = place(aim, kept[0]).stat().st_mtime_ns
    done = backup(path, aim)
    assert (done.files, done.bytes) == (1, len(CONTENT[1]))
    assert place(aim, kept[0]).stat().st_mtime_ns == before
    assert check(aim) == []


def test_the_files_are_on_the_disk_before_the_backup_is_there(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append("sync")
        fsync(descriptor)

    def renamed(old: str, new: str) -> None:
        done.append(Path(new).name[-4:])
        replace(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    backup(path, tmp_path / "copy.db")
    assert done[:-3] == ["sync", ".png", "sync", ".png", "sync", ".mp3"] + ["sync"] * 5, "a folder for each, and two"
    assert done[-3:] == ["sync", "y.db", "sync"]


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda file: file.unlink(), "is missing from the artifacts folder"),
        (lambda file: file.write_bytes(b"xx"), "is damaged"),
        (lambda file: (file.unlink(), file.symlink_to("/etc/passwd")), "can't be read"),
        (lambda file: (file.unlink(), os.mkfifo(file)), "is damaged"),
    ],
)
def test_a_file_that_is_missing_or_damaged_is_named_and_the_others_are_copied(
    path: Path, tmp_path: Path, kept: list[Artifact], harm: Callable[[Path], object], words: str
) -> None:
    harm(place(path, kept[1]))
    (finding,) = check(path)
    assert finding.startswith(f"file {kept[1].path} of request 1")
    assert words in finding
    done = backup(path, tmp_path / "copy.db")
    assert (done.files, done.lacking) == (2, [finding])
    assert sorted(files(tmp_path / "copy.db.artifacts").values()) == sorted([CONTENT[0], CONTENT[2]])


def test_a_row_that_names_a_file_elsewhere_leads_nowhere(path: Path, tmp_path: Path) -> None:
    with open_store(path) as store, store._session.write() as connection:
        connection.exec_driver_sql("UPDATE artifacts SET sha256 = '../../x/' || sha256 WHERE request_id = 2")
    assert [finding for finding in check(path) if "no hash" in finding] == ["request 2 names a file by what is no hash"]
    backup(path, tmp_path / "copy.db")
    assert not (tmp_path / "x").exists()


def test_a_place_without_room_for_the_files_leaves_no_backup(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DatabaseError, match="No space left"):
        backup(path, tmp_path / "copy.db")
    assert sorted(each.name for each in tmp_path.iterdir() if "copy" in each.name) == ["copy.db.artifacts"]
    assert files(tmp_path / "copy.db.artifacts") == {}


def test_a_link_where_the_files_should_go_is_not_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "copy.db.artifacts").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DatabaseError, match="no folder of ours"):
        backup(path, tmp_path / "copy.db")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_only_files_that_no_row_names_are_counted_and_removed(path: Path) -> None:
    held = files(folder_of(str(path)))
    stray = Artifacts(str(path)).put(b"a paid file whose row never came", "body", "", "a")
    note = place(path, stray).with_name("notes.txt.old")
    note.write_text("mine")
    assert unnamed(path) == (1, stray.size)
    with open_store(path) as store:
        assert store.remove_unnamed() == (1, stray.size)
        assert store.remove_unnamed() == (0, 0)
    assert files(folder_of(str(path))) == held | {str(note.relative_to(folder_of(str(path)))): b"mine"}
    assert check(path) == []


def test_nothing_is_removed_through_a_link(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    theirs = tmp_path / "elsewhere" / f"{'0' * 64}.png"
    theirs.write_bytes(b"theirs")
    taken = next(f"{n:02x}" for n in range(256) if not (Path(folder_of(str(path))) / f"{n:02x}").exists())
    (Path(folder_of(str(path))) / taken).symlink_to(tmp_path / "elsewhere")
    with open_store(path) as store:
        assert store.remove_unnamed() == (0, 0)
    assert theirs.exists()


def test_more_files_than_a_page_holds_are_all_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    with open_store(path) as store:
        store.start(INFO, NOW, ACCOUNTS)
        (call,) = start_calls(store, heads(store, load(store, 1)), rate_id=None)
        many = tuple(Artifact("", sha256(b"%d" % n).hexdigest(), "image/png", 1, "a") for n in range(2_500))
        store.commit([], [succeed(call)], [], NOW, beside=Beside((), (Settled(call[0].attempt_id, 1, many),)))
    assert check(path)[-1] == "... and 2480 more of this kind"


def test_a_database_without_files_has_no_folder_in_its_backup(tmp_path: Path) -> None:
    store: SqliteStore
    with open_store(tmp_path / "q.db") as store:
        load(store, 1)
    assert backup(tmp_path / "q.db", tmp_path / "copy.db") == (0, 0, [])
    assert not (tmp_path / "copy.db.artifacts").exists()
    assert unnamed(tmp_path / "q.db") == (0, 0)
