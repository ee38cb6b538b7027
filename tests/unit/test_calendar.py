"""What is planned, refused or priced today is so tomorrow: rules have dates in their words, and compare none."""

import ast

import pytest

from tests.unit.test_independence import files

CLOCKS = {"time", "calendar", "zoneinfo"}
ASKED = {"today", "now", "utcnow", "localtime", "gmtime"}


def clocks(source: str) -> set[str]:
    """What of a module's text asks what time it is."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & CLOCKS
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} & CLOCKS
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            found |= {node.func.attr} & ASKED
    return found


def test_no_preview_asks_the_calendar() -> None:
    """Neither settings, graph, policy nor report; but for a certificate of the user's own, which ends."""
    planning = files("__main__.py", "components", "config", "contract", "policy", "operations/preview", "sizing")
    sources = {path.name: path.read_text() for path in planning if path.suffix == ".py"}
    assert "editions.py" in sources
    asking = {name: asked for name, source in sources.items() if (asked := clocks(source))}
    assert asking == {"certificate_rules.py": {"now"}}


@pytest.mark.parametrize(
    "source",
    ["import time", "from time import monotonic", "from datetime import date\ndate.today()", "datetime.now(tz)"],
)
def test_a_question_for_the_time_is_found(source: str) -> None:
    """The control: each way to ask."""
    assert clocks(source)
