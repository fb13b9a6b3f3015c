"""The floors hold: what pyproject.toml says about imports is true of the code, every room has its place."""

import tomllib

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

from tests.house.tree import PACKAGE, ROOT


def test_imports_go_down_only(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    status = lint_imports(config_filename="pyproject.toml", no_cache=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_every_rule_about_a_library_covers_every_room():
    """A new room must be added to the rules that keep libraries in their rooms, not only to a floor."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = {rule["id"]: rule for rule in tomllib.load(file)["tool"]["importlinter"]["contracts"]}
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    rooms -= {"__init__", "__main__"}
    at_home = {"sqlalchemy-in-store": "store", "http-in-transport": "transport", "terminal-in-cli": "cli"}
    for rule, home in at_home.items():
        covered = {module.removeprefix("batchrunner.") for module in contracts[rule]["source_modules"]}
        assert covered == rooms - {home}, rule
    strangers = {
        module.removeprefix("batchrunner.") for module in contracts["simulator-is-a-stranger"]["forbidden_modules"]
    }
    assert strangers == rooms - {"simulator"}
