"""Say what a stack that is deployed costs."""

import json

import click

from operations.errors import OperationError
from operations.preview import cost
from operations.preview.events import Resource
from operations.stack import Stack, of_stack


@click.command()
@of_stack
def command(stack: Stack) -> None:
    """Print what a stack that is deployed costs a month, by list prices; of a change, the preview says it."""
    deployment = json.loads(stack.run("stack export"))["deployment"]
    resources = [
        Resource(
            package=one["type"].partition(":")[0],
            kind=one["type"].rpartition(":")[2],
            name=one["urn"].rpartition("::")[2],
            inputs=one.get("inputs") or {},
            outputs=one.get("outputs") or {},
        )
        for one in deployment.get("resources") or []
        if one.get("custom")
    ]
    if not resources:
        raise OperationError(f'--stack: must be deployed, got "{stack.name}", which has nothing; run `pulumi up`')
    bill = cost.bill(resources)
    click.echo(f"{cost.about(bill)} a month, by list prices (docs/cost.md)")
    for name, item in bill.items():
        click.echo(f"- {name}: {item}")
