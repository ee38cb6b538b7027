"""Every kind of resource that the program makes has its meaning in the report of a preview."""

from typing import Any

from operations.preview.meaning import MEANINGS
from tests.components.recording import run_program


def test_every_kind_is_known(settings: dict[str, Any]) -> None:
    """None is told by its type alone; and none is explained that no stack has."""
    graph = run_program(settings | {"alerts": {"email": ["ops@shop.example"]}})
    kinds = {resource.type.rpartition(":")[2] for resource in graph.registrations.values() if resource.custom}
    assert {kind[0].upper() + kind[1:] for kind in kinds if kind != "Stack"} == MEANINGS.keys()
