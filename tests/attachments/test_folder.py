"""A folder whose files may be sent: what is in it is read whole, and nothing else is read at all."""

import os
import socket
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from batchrunner.attachments.folder import AttachmentFolder
from batchrunner.core.attachments import NoAttachments, Unattachable, Wanted
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.mediatypes import IMAGES, SOUNDS
from tests.media import jpeg_head, png, wav

SECRET = png(shade=77)
MOST = 100_000


def image(name):
    return Wanted(name, IMAGES, MOST)


@pytest.fixture
def places(tmp_path):
    """A folder of attachments with all kinds of things in it, and secrets outside of it."""
    outside = tmp_path / "outside"
    inside = tmp_path / "inside"
    (outside / "deep").mkdir(parents=True)
    (inside / "photos" / "2026").mkdir(parents=True)
    (inside / "voice").mkdir()
    for secret in (outside / "secret.png", outside / "deep" / "secret.png", tmp_path / "secret.png"):
        secret.write_bytes(SECRET)
    (inside / "photos" / "1.png").write_bytes(png())
    (inside / "photos" / "2026" / "a b.png").write_bytes(png())
    (inside / "photos" / "empty.png").touch()
    (inside / "photos" / "big.png").write_bytes(png(padding=MOST))
    (inside / "photos" / "text.png").write_text("<svg>no picture of a kind that is known</svg>")
    (inside / "photos" / "script.png").write_bytes(b"#!/bin/sh\necho")
    (inside / "voice" / "talk.wav").write_bytes(wav(0.01))
    (inside / "link.png").symlink_to(outside / "secret.png")
    (inside / "own-link.png").symlink_to(inside / "photos" / "1.png")
    (inside / "dangling.png").symlink_to(outside / "nothing.png")
    (inside / "round.png").symlink_to(inside / "round.png")
    (inside / "album").symlink_to(outside)
    (inside / "photos" / "up").symlink_to("..")
    (inside / "null").symlink_to("/dev/null")
    (inside / "environment").symlink_to("/proc/self/environ")
    (inside / "self").symlink_to("/proc/self")
    os.mkfifo(inside / "pipe.png")
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        here = Path.cwd()
        os.chdir(inside)  # a socket's path is short
        try:
            listening.bind("socket.png")
        finally:
            os.chdir(here)
    closed = inside / "closed.png"
    closed.write_bytes(png())
    closed.chmod(0)
    return inside, outside


HOSTILE = [
    ("/etc/passwd", "must be relative"),
    ("//etc/passwd", "must be relative"),
    ("///etc/passwd", "must be relative"),
    ("/proc/self/environ", "must be relative"),
    ("/dev/zero", "must be relative"),
    ("//localhost/etc/passwd", "must be relative"),
    ("{outside}/secret.png", "must be relative"),
    ("{inside}/photos/1.png", "must be relative"),
    ("..", "leads out"),
    ("../secret.png", "leads out"),
    ("../outside/secret.png", "leads out"),
    ("photos/../../outside/secret.png", "leads out"),
    ("photos/../photos/1.png", "leads out"),
    ("./../outside/secret.png", "leads out"),
    ("photos/..", "leads out"),
    ("photos/up/../../secret.png", "leads out"),
    ("../../../../../../../../etc/passwd", "leads out"),
    ("..\\outside\\secret.png", "backslash"),
    ("\\etc\\passwd", "must be relative"),
    ("C:\\secret.png", "backslash"),
    ("photos\\1.png", "backslash"),
    ("%2e%2e/outside/secret.png", "without escapes"),
    ("photos/%2e%2e/%2e%2e/secret.png", "without escapes"),
    ("photos/1.png%00.txt", "without escapes"),
    ("photos/1.png\0", "can't be shown"),
    ("photos/1.png\n../secret.png", "can't be shown"),
    ("\u202egnp.1/sotohp", "can't be shown"),
    ("a" * 5000, "longer than 1024"),
    ("a/" * 400 + "b", "folders deep"),
    ("x" * 300 + ".png", "too long"),
    ("~/secret.png", "no such file"),
    ("~root/.bashrc", "no such file"),
    ("$HOME/secret.png", "no such file"),
    ("photos/*.png", "no such file"),
    ("", "names no file"),
    (".", "names no file"),
    ("photos/", "names no file"),
    ("photos", "is a folder"),
    ("photos/1.png/x.png", "not a folder"),
    ("link.png", "symbolic link"),
    ("own-link.png", "symbolic link"),
    ("dangling.png", "symbolic link"),
    ("round.png", "symbolic link"),
    ("album/secret.png", "symbolic link"),
    ("album/deep/secret.png", "symbolic link"),
    ("photos/up/photos/1.png", "symbolic link"),
    ("null", "symbolic link"),
    ("environment", "symbolic link"),
    ("self/environ", "symbolic link"),
    ("pipe.png", "not a regular file"),
    ("socket.png", "not a regular file"),
    ("photos/empty.png", "is empty"),
    ("photos/big.png", "and 100,000 are the most"),
    ("photos/text.png", "of no type that is known"),
    ("photos/script.png", "of no type that is known"),
    ("voice/talk.wav", "it is audio/wav; what can be sent here is image/jpeg"),
]

_opened: list[tuple[str, str]] = []
_watching = threading.local()


def _listen(event, args):
    if event == "open" and getattr(_watching, "on", False):
        _opened.append(("asked for", os.fsdecode(args[0]) if isinstance(args[0], str | bytes) else str(args[0])))


sys.addaudithook(_listen)


@pytest.fixture
def opened(monkeypatch):
    """What is opened in this thread: the names that were asked for, and the files that they came to."""
    real = os.open

    def noting(*args, **kwargs):
        descriptor = real(*args, **kwargs)
        _watching.on = False
        _opened.append(("came to", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        _watching.on = True
        return descriptor

    _opened.clear()
    monkeypatch.setattr(os, "open", noting)
    _watching.on = True
    yield _opened
    _watching.on = False


def came_to(opened):
    return [path for how, path in opened if how == "came to"]


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

    flipping = threading.Thread(target=flip)
    flipping.start()
    folder, seen = AttachmentFolder(inside), {"read": 0, "refused": 0}
    try:
        for _ in range(4000):
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
