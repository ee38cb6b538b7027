"""Every environment of the repository has its price."""

from decimal import Decimal

import pytest
import yaml

from operations.preview import cost
from operations.preview.events import Resource
from tests.components.recording import ROOT, run_program


@pytest.mark.parametrize(
    ("stack", "monthly"), [("local", "26.15"), ("dev", "47.45"), ("staging", "59.45"), ("prod", "135.50")]
)
def test_an_environment_is_priced(stack: str, monthly: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing unknown: each resource of the program has a price, or is known to have none."""
    monkeypatch.chdir(ROOT)
    config = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    graph = run_program({key.removeprefix("django-do:"): value for key, value in config.items()})
    bill = cost.bill(
        Resource(package=one.type.partition(":")[0], kind=one.type.rpartition(":")[2], name=one.name, inputs=one.inputs)
        for one in graph.registrations.values()
        if one.custom
    )
    assert [name for name, item in bill.items() if item.monthly is None] == []
    assert cost.total(bill) == Decimal(monthly)
    assert f"| ${monthly} |" in (ROOT / "docs" / "cost.md").read_text()


def test_there_is_no_other_environment() -> None:
    """Else it would have no line above."""
    assert {path.name for path in ROOT.glob("Pulumi.*.yaml")} == {
        f"Pulumi.{stack}.yaml" for stack in ("local", "dev", "staging", "prod")
    }
