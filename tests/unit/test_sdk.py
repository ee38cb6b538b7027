"""Parts of a package without the rest: what is imported, and that nobody notices afterwards."""

import gc
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugin_base.sdk import parts_of


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package that imports all its modules, of which `first` needs `second`."""
    name = "generated_sdk"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("from . import first, second, third\nfrom .third import THIRD\n")
    (folder / "first.py").write_text("from . import second\nclass First: pass\n")
    (folder / "second.py").write_text("")
    (folder / "third.py").write_text("THIRD = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    for module in imported(name):
        del sys.modules[module]


def imported(package: str) -> set[str]:
    """What of it is there."""
    return {name for name in sys.modules if name.partition(".")[0] == package}


def test_only_what_is_needed_is_imported(package: str) -> None:
    """Not the package's own module, which imports the rest; the search for garbage goes on afterwards."""
    with parts_of(package):
        importlib.import_module(f"{package}.first")
    assert imported(package) == {f"{package}.first", f"{package}.second"}
    assert gc.isenabled()


def test_the_package_is_as_ever_afterwards(package: str) -> None:
    """With the classes that are there already."""
    with parts_of(package):
        first = importlib.import_module(f"{package}.first").First
    whole = importlib.import_module(package)
    assert whole.THIRD == 3
    assert whole.first.First is first


def test_a_package_that_is_there_is_left_alone(package: str) -> None:
    """It has all its modules."""
    whole = importlib.import_module(package)
    with parts_of(package):
        assert importlib.import_module(f"{package}.first") is whole.first
    assert sys.modules[package] is whole


def test_a_package_that_is_missing_says_so() -> None:
    """By Python's own error."""
    with pytest.raises(ModuleNotFoundError, match="no_such_sdk"), parts_of("no_such_sdk"):
        importlib.import_module("no_such_sdk.first")
