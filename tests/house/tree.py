"""What the house tests look at: the repository's files, as they are on disk."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "batchrunner"

OUR_FOLDERS = (".ci", "batchrunner", "bench", "docs", "jobs", "migrations", "requirements", "tests")


def package_modules() -> list[Path]:
    """Every module of the package."""
    return sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def name_of(path: Path) -> str:
    """A path as people write it: from the top of the repository, with slashes."""
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """The functions of a module, with their length in lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def our_texts() -> Iterator[tuple[str, str]]:
    """Name and content of every text file that belongs to the project."""
    files = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]  # a work tree's is a file
    for folder in OUR_FOLDERS:
        files.extend((ROOT / folder).rglob("*"))
    for path in sorted(files):
        if "__pycache__" in path.parts or not path.is_file() or path.name == ".coverage" or ".db" in path.name:
            continue
        try:
            yield name_of(path), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture, an array
