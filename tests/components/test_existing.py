"""Existing: which resources are looked for in the account before they are made, and how they are taken over."""

from tests.components.recording import Graph

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


def test_what_is_imported_without_a_parent_is_found(graph: Graph) -> None:
    """The command of the message knows none."""
    for role in LOOKED_FOR:
        [alias] = graph[role].options.aliases
        assert alias.spec.noParent
