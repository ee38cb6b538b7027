"""Outputs that the stack has even if its release fails."""

from collections.abc import Mapping
from typing import Any

import pulumi


def keep(outputs: Mapping[str, pulumi.Input[Any]]) -> pulumi.Input[list[pulumi.Resource]]:
    """Register outputs of the stack when they are known; return what to depend on so as to come afterwards.

    `pulumi.export` registers all outputs together, when the last is known: none, when a release fails. The engine takes
    what was registered last, and after a failure keeps the old ones that it does not have (pulumi 3.276,
    step_executor.go). So those that are known only after the release must come after these.
    """
    stack = pulumi.runtime.get_root_resource()
    if not isinstance(stack, pulumi.ComponentResource) or pulumi.runtime.is_dry_run():
        return []
    stack.register_outputs(dict(outputs))

    async def known() -> list[pulumi.Resource]:
        for output in outputs.values():
            await pulumi.Output.from_input(output).future()
        return []

    return pulumi.Output.from_input(known())
