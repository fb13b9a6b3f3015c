"""A folder whose files may be sent: what is in it is read whole, and nothing else is read at all."""

import gc
import os
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from batchrunner.attachments.folder import AttachmentFolder
from batchrunner.core.attachments import NoAttachments, Unattachable, Wanted
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.mediatypes import IMAGES, SOUNDS
from tests.attachments.hostile import HOSTILE, MOST, SECRET
from tests.media import jpeg_head, png


def image(name):
    return Wanted(name, IMAGES, MOST)


def came_to(opened):
    return [path for how, path in opened if how == "came to"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "says"), HOSTILE, ids=[repr(name)[:30] for name, _ in HOSTILE])
@pytest.mark.parametrize("verb", ["look", "read"])
def test_s5_a_hostile_reference_is_refused_with_a_reason_and_nothing_outside_is_opened(
    places, opened, name, says, verb
):
    inside, outside = places
    name = name.format(inside=inside, outside=outside) if name.startswith("{") else name
    folder = AttachmentFolder(inside)
    opened.clear()
    with pytest.raises(Unattachable, match=r"^file:") as caught:
        getattr(folder, verb)(image(name))
    assert says in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
    assert [path for path in came_to(opened) if not Path(path).is_relative_to(inside)] == []
    asked = [path for how, path in opened if how == "asked for"]
    assert [path for path in asked if path.startswith("/") or ".." in path.split("/")] == []


def test_there_are_at_least_forty_of_them():
    assert len({name for name, _ in HOSTILE}) >= 40


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(places):
    with pytest.raises(Unattachable, match="may not be read"):
        AttachmentFolder(places[0]).look(image("closed.png"))


def test_f15_no_device_and_no_pipe_is_even_opened(places, opened):
    inside, _ = places
    folder = AttachmentFolder(inside)
    opened.clear()
    for name in ("pipe.png", "socket.png"):
        with pytest.raises(Unattachable):
            folder.read(image(name))
    assert came_to(opened) == []


@pytest.mark.parametrize("name", ["photos/1.png", "./photos//1.png", "photos/2026/a b.png"])
def test_a_file_in_the_folder_is_read_whole_and_typed_by_its_content(places, name):
    folder = AttachmentFolder(places[0])
    assert folder.look(image(name)) == len(png())
    assert folder.read(image(name)) == (name, png(), "image/png")


def test_a_name_that_lies_does_not_decide_the_type(places):
    inside, _ = places
    (inside / "photo.jpg").write_bytes(png())
    (inside / "photo.png").write_bytes(jpeg_head(4, 4))
    folder = AttachmentFolder(inside)
    assert folder.read(image("photo.jpg")).media_type == "image/png"
    assert folder.read(image("photo.png")).media_type == "image/jpeg"
    with pytest.raises(Unattachable, match="it is image/png; what can be sent here is audio/wav"):
        folder.read(Wanted("photo.jpg", SOUNDS, MOST))


def test_a_file_of_exactly_the_most_bytes_passes_and_one_more_does_not(places):
    size = len(png())
    folder = AttachmentFolder(places[0])
    assert folder.look(image("photos/1.png")._replace(most=size)) == size
    with pytest.raises(Unattachable, match="the most"):
        folder.look(image("photos/1.png")._replace(most=size - 1))


@pytest.mark.parametrize("change", [b"more", None], ids=["it grows", "it shrinks"])
def test_a_file_that_changes_while_it_is_read_is_not_sent(places, monkeypatch, change):
    path = places[0] / "photos" / "1.png"
    folder, real = AttachmentFolder(places[0]), os.read

    def meanwhile(descriptor, count):
        with path.open("ab") as file:
            file.write(change) if change else file.truncate(20)
        return real(descriptor, count)

    monkeypatch.setattr(os, "read", meanwhile)
    with pytest.raises(Unattachable, match="changed while it was read"):
        folder.read(image("photos/1.png"))


@pytest.mark.parametrize("victim", ["photos/1.png", "photos"])
def test_s20_a_link_that_takes_a_name_between_the_look_and_the_opening_leads_nowhere(places, monkeypatch, victim):
    inside, outside = places
    (outside / "1.png").write_bytes(SECRET)
    folder, real = AttachmentFolder(inside), os.open
    target = outside if victim == "photos" else outside / "secret.png"

    def swapped(name, *args, **kwargs):
        if name == Path(victim).name:
            (inside / victim).rename(inside / "aside")
            (inside / victim).symlink_to(target)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(os, "open", swapped)
    with pytest.raises(Unattachable, match="symbolic link"):
        folder.read(image("photos/1.png"))


@pytest.mark.slow
def test_s20_however_often_folder_and_link_take_turns_only_what_is_inside_is_read(places):
    inside, outside = places
    (outside / "1.png").write_bytes(SECRET)
    (inside / "trap").symlink_to(outside)
    stop = threading.Event()

    def flip():
        while not stop.is_set():
            (inside / "photos").rename(inside / "aside")
            (inside / "trap").rename(inside / "photos")
            (inside / "photos").rename(inside / "trap")
            (inside / "aside").rename(inside / "photos")
            stop.wait(0.0001)  # else the reader may find the link at every turn

    flipping = threading.Thread(target=flip)
    flipping.start()
    folder, seen = AttachmentFolder(inside), {"read": 0, "refused": 0}
    end = time.monotonic() + 30
    try:
        while sum(seen.values()) < 4000 or (min(seen.values()) == 0 and time.monotonic() < end):
            try:
                assert folder.read(image("photos/1.png")).data == png()
                seen["read"] += 1
            except Unattachable:
                seen["refused"] += 1
    finally:
        stop.set()
        flipping.join()
    assert min(seen.values()) > 0, seen


def test_d10_the_queues_own_database_is_never_opened_under_whatever_name(places, opened):
    inside, _ = places
    path = inside / "q.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")
        (inside / "copy.png").hardlink_to(path)
        folder = AttachmentFolder(inside, never=[str(path), f"{path}-wal"])
        opened.clear()
        for name in ("q.db", "copy.png"):
            with pytest.raises(Unattachable, match="own database"):
                folder.look(image(name))
        assert came_to(opened) == []


def test_no_descriptor_is_left_open(places):
    inside, _ = places
    folder = AttachmentFolder(inside)
    gc.collect()  # folders of earlier tests
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in ("photos/1.png", "photos/2026/a b.png", "photos/text.png", "album/secret.png", "photos/none/x.png"):
        for verb in (folder.look, folder.read):
            try:
                verb(image(name))
            except Unattachable:
                continue
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("path", ["none", "file.txt", "/proc", "/proc/self"])
def test_what_is_no_folder_of_files_is_refused_at_once(tmp_path, path):
    (tmp_path / "file.txt").touch()
    with pytest.raises(ConfigurationError, match="--attachments"):
        AttachmentFolder(tmp_path / path)


def test_without_a_folder_nothing_is_read_and_the_flag_is_named():
    for verb in ("look", "read"):
        with pytest.raises(Unattachable, match=r"file:photos/1\.png: local files are off; --attachments DIR"):
            getattr(NoAttachments(), verb)(image("photos/1.png"))
