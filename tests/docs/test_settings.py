"""The page of the settings says what the models say."""

from pydantic import BaseModel

from config import StackConfig
from scripts import settings_docs
from tests.commands import ROOT


def test_the_page_is_current() -> None:
    """`make settings-docs` would change nothing."""
    assert (ROOT / "docs" / "settings.md").read_text() == settings_docs.page()


def test_every_setting_is_on_it_and_explained() -> None:
    """No section is left out, and none is without its meaning."""

    def count(model: type[BaseModel]) -> int:
        sections = [settings_docs.section_of(field) for field in model.model_fields.values()]
        return sum(count(section) if section else 1 for section in sections)

    rows = list(settings_docs.settings(StackConfig))
    assert len(rows) == count(StackConfig)
    assert [path for path, _, meaning in rows if not meaning] == []
