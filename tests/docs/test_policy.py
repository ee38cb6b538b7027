"""The page of the policy pack says what the pack says."""

from operations import policy_docs
from policy.pack import RULES
from tests.commands import ROOT


def test_the_page_is_current() -> None:
    """`make policy-docs` would change nothing."""
    assert (ROOT / "docs" / "policy.md").read_text() == policy_docs.page()


def test_every_rule_is_one_row() -> None:
    """Nothing in a rule's words breaks the table."""
    rows = policy_docs.page().splitlines()[-len(RULES) :]
    assert [row.split("`")[1] for row in rows] == [rule.name for rule in RULES]
    assert {row.count("|") for row in rows} == {6}
