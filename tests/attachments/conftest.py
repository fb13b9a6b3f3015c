"""A folder of attachments with secrets around it, and a watch over every file that is opened."""

import os
import socket
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.attachments.hostile import MOST, SECRET
from tests.media import png, wav


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


_opened: list[tuple[str, str]] = []
_watching = []


def _listen(event, args):
    """Note what is asked for, and where that is: ``os.open`` may be given a folder, and is asked itself."""
    if event != "open" or not _watching or not isinstance(args[0], str | bytes):
        return
    path = os.fsdecode(args[0])
    _opened.append(("asked for", path))
    if args[1] is not None:  # the mode, which only Python's own open has
        _opened.append(("came to", os.path.realpath(path)))


sys.addaudithook(_listen)


@pytest.fixture
def opened(monkeypatch):
    """What is opened, by whichever thread: the names that were asked for, and the files that they came to."""
    real = os.open

    def noting(*args, **kwargs):
        descriptor = real(*args, **kwargs)
        _opened.append(("came to", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        return descriptor

    _opened.clear()
    monkeypatch.setattr(os, "open", noting)
    _watching.append(True)
    yield _opened
    _watching.clear()
