"""The table of settings in the README says what the models say."""

import pytest
from pydantic import BaseModel

from config.stack import StackConfig
from operations import settings_docs
from tests.commands import ROOT


def test_the_table_is_current() -> None:
    """`make settings-docs` would change nothing."""
    readme = (ROOT / "README.md").read_text()
    assert readme == settings_docs.with_table(readme)


def test_a_readme_without_its_place_is_refused() -> None:
    """Instead of being left as it is."""
    with pytest.raises(ValueError, match="must have one place for the table"):
        settings_docs.with_table("# Nothing")


def test_every_setting_is_on_it_and_explained() -> None:
    """No section is left out, and none is without its meaning."""

    def count(model: type[BaseModel]) -> int:
        sections = [settings_docs.section_of(field) for field in model.model_fields.values()]
        return sum(count(section) if section else 1 for section in sections)

    rows = list(settings_docs.settings(StackConfig))
    assert len(rows) == count(StackConfig)
    assert [path for path, _, meaning in rows if not meaning] == []
