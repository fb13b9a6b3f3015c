"""The key that every scenario runs with, for as long as a module's scenario lasts."""

from collections.abc import Iterator

import pytest

from tests.canary import CANARY_KEY


@pytest.fixture(scope="module")
def with_key() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOGETHER_API_KEY", CANARY_KEY)
        patch.delenv("TOGETHER_BASE_URL", raising=False)
        yield
