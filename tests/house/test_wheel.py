"""What is built holds what the program needs where it looks for it."""

import subprocess
import sys
import tarfile
import zipfile

import pytest

from tests.house.tree import PACKAGE, ROOT

pytestmark = pytest.mark.slow


def build(kind, source, target):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)],
        cwd=source, check=True, capture_output=True, timeout=100,
    )  # fmt: skip
    (built,) = target.iterdir()
    return built


def expected_in_the_wheel():
    moved = {
        PACKAGE: "batchrunner",
        ROOT / "migrations": "batchrunner/store/migrations",
        ROOT / "jobs": "batchrunner/jobs",
    }
    return {
        f"{inside}/{path.relative_to(folder).as_posix()}"
        for folder, inside in moved.items()
        for path in folder.rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.suffix in {".py", ".jsonl", ".typed", ".toml", ".mako", ".css", ".js"}
    }


def test_a_wheel_built_from_the_sdist_holds_code_migrations_and_example_jobs(tmp_path):
    sdist = build("sdist", ROOT, tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    with zipfile.ZipFile(build("wheel", source, tmp_path / "wheel")) as wheel:
        names = set(wheel.namelist())
    assert expected_in_the_wheel() <= names
    assert "batchrunner/store/migrations/env.py" in names
    assert "batchrunner/jobs/quickstart.jsonl" in names
    assert not any(name.startswith(("tests/", "migrations/", "jobs/")) for name in names)
