"""The official provider plugin, by its name."""

from collections.abc import Iterator

import pytest

from sandbox.client import plugin


@pytest.fixture(scope="session", autouse=True)
def _official() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(plugin.CHOICE, "official")
        yield
