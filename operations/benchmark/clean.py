"""`python -m operations benchmark clean`: removes what a run has left that was killed."""

import time

import click

from operations.benchmark import rig
from operations.benchmark.account import Account, BenchmarkError
from operations.benchmark.pool import confirm, progress, undisturbed
from provider import api


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(*, yes: bool) -> None:
    """Remove what runs of `benchmark pool` have left; of one that still goes on, too."""
    account = Account()
    try:
        names = rig.leftovers(account)
        if not names:
            click.echo("nothing is left of any run")
            return
        lines = [f"- {name}: its run is over by {rig.expires(name):%Y-%m-%d %H:%M} UTC" for name in names]
        confirm("\n".join(["All of these is removed, cluster, Droplet, VPC, key and tag:", *lines]), yes=yes)
        with undisturbed():
            for name in names:
                rig.remove(account, name, progress(time.monotonic()))
    except api.UnreadableError as error:
        raise BenchmarkError(str(error)) from error
