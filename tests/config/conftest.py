"""A folder, a user's folder and an environment of our own: nothing is patched, everything is handed in."""

from pathlib import Path

import pytest

from batchrunner.config import Loaded, load_settings
from batchrunner.core.errors import ConfigurationError


class Desk:
    """Where somebody sits who configures a run."""

    def __init__(self, folder: Path) -> None:
        self.cwd = folder / "project"
        self.user_dir = folder / "user"
        self.cwd.mkdir()
        self.user_dir.mkdir()
        self.env: dict[str, str] = {"HOME": str(folder)}

    @property
    def project_file(self) -> Path:
        return self.cwd / "batchrunner.toml"

    @property
    def user_file(self) -> Path:
        return self.user_dir / "config.toml"

    def project(self, text: str) -> None:
        self.project_file.write_text(text, encoding="utf-8")

    def user(self, text: str) -> None:
        self.user_file.write_text(text, encoding="utf-8")

    def dotenv(self, text: str) -> None:
        path = self.cwd / ".env"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)

    def load(self, **flags: object) -> Loaded:
        return load_settings(flags, self.env, self.cwd, self.user_dir)

    def refused(self, *words: str, hint: tuple[str, ...] = (), **flags: object) -> ConfigurationError:
        """Load, which must be refused (exit code 2) in a message and a hint that hold these words."""
        with pytest.raises(ConfigurationError) as refusal:
            self.load(**flags)
        check_refusal(refusal.value, words, hint)
        return refusal.value


def check_refusal(error: ConfigurationError, words: tuple[str, ...], hint: tuple[str, ...]) -> None:
    assert error.exit_code == 2
    assert error.hint, "a refusal says what to do next"
    for word in words:
        assert word in error.message
    for word in hint:
        assert word in error.hint


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)
