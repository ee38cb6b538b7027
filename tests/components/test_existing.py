"""Existing: which resources are looked for in the account before they are made, and how they are taken over."""

from typing import Any

import pytest

from tests.components.recording import Graph, run_program

LOOKED_FOR = {"vpc", "domain", "record", "db", "web-tag", "web-1"}


def test_what_an_account_has_once_is_looked_for(graph: Graph) -> None:
    """By a hook that the engine calls for what it creates, and for nothing else."""
    hooked = {
        registration.name.removeprefix("shop-"): list(registration.options.hooks.before_create)
        for registration in graph.registrations.values()
        if registration.options.hooks.before_create
    }
    # All Droplets have one hook.
    assert hooked == {role: [f"shop-existing-{role.replace('web-1', 'web')}"] for role in LOOKED_FOR}


@pytest.mark.parametrize(("preview", "asking"), [(True, {3}), (False, {1, 2, 3})], ids=["preview", "update"])
def test_of_several_droplets_some_are_looked_for(settings: dict[str, Any], asking: set[int], *, preview: bool) -> None:
    """In a preview the last one, which is made whenever any is; in an update each, since any may be the first."""
    several = run_program(settings | {"web": settings["web"] | {"count": 3, "loadBalancer": True}}, preview=preview)
    hooks = {number: list(several[f"web-{number}"].options.hooks.before_create) for number in (1, 2, 3)}
    assert hooks == {number: ["shop-existing-web"] if number in asking else [] for number in (1, 2, 3)}


def test_what_is_imported_without_a_parent_is_found(graph: Graph) -> None:
    """The command of the message knows none."""
    for role in LOOKED_FOR:
        [alias] = graph[role].options.aliases
        assert alias.spec.noParent
