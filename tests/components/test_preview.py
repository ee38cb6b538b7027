"""Every kind of resource that the program makes has its meaning in the report of a preview."""

from typing import Any

from operations.preview.meaning import MEANINGS
from tests.components.recording import run_program

BALANCED = {"loadBalancer": True, "publicNetwork": False}


def test_every_kind_is_known(settings: dict[str, Any]) -> None:
    """None is told by its type alone; and none is explained that no stack has."""
    more = settings | {"alerts": {"email": ["ops@shop.example"]}}
    graphs = [run_program(more), run_program(more | {"web": settings["web"] | BALANCED})]
    resources = [resource for graph in graphs for resource in graph.registrations.values()]
    kinds = {resource.type.rpartition(":")[2] for resource in resources if resource.custom}
    assert {kind[0].upper() + kind[1:] for kind in kinds if kind != "Stack"} == MEANINGS.keys()
