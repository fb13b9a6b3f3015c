"""The artifacts folder: files are whole or not there, nobody else's to read, and equal ones are one."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from batchrunner.core.continuation import folder_of, type_of
from batchrunner.runner.artifacts import Artifacts

PNG = b"\x89PNG\r\n\x1a\n" + b"picture" * 50


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(str(tmp_path / "q.db"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_named_by_its_bytes_and_readable_by_its_owner_only(artifacts: Artifacts, tmp_path: Path) -> None:
    kept = artifacts.put(PNG, "data[0]", "application/octet-stream", "image-1")
    digest = hashlib.sha256(PNG).hexdigest()
    folder = Path(folder_of(str(tmp_path / "q.db")))
    path = folder / digest[:2] / f"{digest}.png"
    assert (kept.sha256, kept.type, kept.size, kept.name) == (digest, "image/png", len(PNG), "image-1.png")
    assert kept.path == f"{digest[:2]}/{digest}.png"
    assert path.read_bytes() == PNG
    assert [mode(each) for each in (folder, path.parent, path)] == [0o700, 0o700, 0o600]


def test_equal_files_are_one_and_a_file_that_was_not_kept_leaves_nothing(artifacts: Artifacts) -> None:
    first, second = artifacts.put(PNG, "data[0]", "", "a"), artifacts.put(PNG, "data[1]", "", "b")
    assert first.path == second.path
    making = artifacts.begin()
    making.write(b"half of i")
    making.drop()
    files = [path for path in Path(artifacts.folder).rglob("*") if path.is_file()]
    assert len(files) == 1


def test_what_a_killed_run_left_half_written_goes_away_and_what_is_kept_stays(artifacts: Artifacts) -> None:
    kept = artifacts.put(PNG, "body", "", "a")
    artifacts.begin().write(b"half of i")
    assert len(list(Path(artifacts.folder).glob(".*.part"))) == 1
    again = Artifacts(artifacts.folder.removesuffix(".artifacts"))
    again.put(b"another", "body", "", "b")
    assert list(Path(artifacts.folder).glob(".*.part")) == []
    assert (Path(artifacts.folder) / kept.path).exists()


def test_a_folder_that_is_a_link_is_not_written_to(artifacts: Artifacts, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    Path(artifacts.folder).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotADirectoryError):
        artifacts.put(PNG, "body", "", "a")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_file_is_on_the_disk_before_it_has_its_name_and_its_name_before_it_is_told(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts.put(b"so that the folder is there", "body", "", "a")
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (done.append("sync"), fsync(descriptor))[1])
    monkeypatch.setattr(os, "replace", lambda old, new: (done.append("rename"), replace(old, new))[1])
    artifacts.put(PNG, "body", "", "a")
    # The file; the new folder's entry; its name; the entry of that.
    assert done == ["sync", "sync", "rename", "sync"]


@pytest.mark.parametrize(
    ("start", "said", "kind"),
    [
        (b"\x89PNG\r\n\x1a\nxx", "image/jpeg", "image/png"),
        (b"\xff\xd8\xff\xe0", "", "image/jpeg"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio/mpeg", "audio/wav"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "", "image/webp"),
        (b"\0\0\0\x20ftypisom", "", "video/mp4"),
        (b"\0\1\2\3", "audio/aac; rate=1", "audio/aac"),
        (b"<html>", "text/html", "application/octet-stream"),
        (b"", "../../x", "application/octet-stream"),
    ],
)
def test_the_type_is_by_the_bytes_then_by_the_word_of_the_provider(start: bytes, said: str, kind: str) -> None:
    assert type_of(start, said) == kind
