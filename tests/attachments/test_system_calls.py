"""What the kernel saw: every file that a real process opened for a job full of hostile references."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attachments.test_verbs import PLACES, line, references
from tests.cli.conftest import write
from tests.e2e.place import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace tells the system calls"),
]

CAME_TO = re.compile(r"\bopen(?:at2?)?\(.*\) = \d+<(.*)>")


def test_s5_no_file_outside_the_folder_was_opened_for_any_of_them(places, tmp_path: Path) -> None:
    inside, outside = places
    told = references(inside, outside)
    rows = [line(place, name, f"{at} {n}") for at, place in PLACES.items() for n, (name, _) in enumerate(told)]
    job = write(tmp_path / "job.jsonl", rows)
    home = tmp_path / "home"
    home.mkdir()
    # Nothing of the machine's own is of interest here but what references name, and the program never opens by itself.
    secret = {"/etc/passwd", "/dev/zero", str(tmp_path / "secret.png"), str(home / "secret.png")}
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-y", "-qq", "-s", "4096", "-e", "trace=open,openat,openat2", "-o", str(trace)]
    command += [sys.executable, "-m", "batchrunner", "run", str(job), "--attachments", str(inside), "--yes"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), "TOGETHER_API_KEY": "k"}
    ended = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=60, check=False)
    if "ptrace" in ended.stderr.lower():
        pytest.skip("no tracing here")
    assert ended.returncode == 5, ended.stderr
    assert f"{len(rows)} bad lines; nothing was stored, nothing was sent" in ended.stderr
    opened = [found[1] for found in map(CAME_TO.search, trace.read_text(errors="replace").splitlines()) if found]
    assert str(inside) in opened
    assert str(inside / "photos") in opened, "the trace shows what is opened beneath the folder"
    assert [path for path in opened if path.startswith(f"{outside}") or path in secret or "/environ" in path] == []
    assert not any(path.endswith((".fifo", "pipe.png", "socket.png")) for path in opened)
