"""`python -m operations benchmark pool`: the pool tutorial's experiment, on a cluster that is made for it."""

import math
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import click

from operations.benchmark import measure, page, pgbench, result, rig, verdict
from operations.benchmark.account import SIGNALS, Account, BenchmarkError
from operations.benchmark.client import VERSION
from operations.preview.cost import CENT, prices
from provider import api
from sizing.budget import pool_size
from sizing.editions import STANDARD
from sizing.plans import UnknownPlanError, droplet_plan
from sizing.regions import REGIONS

HOURS_OF_A_MONTH = 672  # by which DigitalOcean divides a Droplet's monthly price; a longer month costs no more
GRACE = timedelta(hours=1)  # beyond the estimate, before what is left counts as left


def price(plan: str, client: str, seconds: float) -> Decimal | None:
    """Return what cluster and client cost for so long, in started hours, by list prices; None when one is unknown."""
    table = prices()
    monthly = [table.get(("DatabaseCluster", plan)), table.get(("Droplet", client))]
    hours = math.ceil(seconds / 3600)
    known = [one.amount for one in monthly if one]
    return None if len(known) < len(monthly) else (sum(known, Decimal(0)) * hours / HOURS_OF_A_MONTH).quantize(CENT)


def announcement(order: rig.Order, seconds: float) -> str:
    """Say what is made, for how long, and what that costs."""
    cost = price(order.plan, order.client, seconds)
    hours = math.ceil(seconds / 3600)
    amount = "what it costs is unknown: a plan has no list price here" if cost is None else f"that costs about ${cost}"
    return (
        f"In {order.region} is made, all called {order.name}:\n"
        f"- a database cluster {order.plan}, PostgreSQL {VERSION}, one node, with a pool of {order.pool_size}\n"
        f"- a Droplet {order.client}, which runs pgbench\n"
        "- a VPC, an SSH key and a tag\n"
        f"It takes about {measure.minutes(seconds)}; {amount} ({hours} started hour{'s' if hours > 1 else ''}, by list "
        "prices before taxes: docs/cost.md).\n"
        "All of it is removed in the end, after an error and Ctrl-C, too. Nothing else is touched."
    )


def confirm(text: str, *, yes: bool) -> None:
    """Show what will be done, and go on when it is wanted."""
    click.echo(text, err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise BenchmarkError("there is no terminal to ask; add --yes if this is wanted")
    click.confirm("Go on?", abort=True, err=True)


@contextmanager
def _on_signals(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Let a handler have the signals for a block."""
    before = {one: signal.signal(one, handler) for one in SIGNALS}
    try:
        yield
    finally:
        for one, former in before.items():
            signal.signal(one, former)


def ending_in_order() -> AbstractContextManager[None]:
    """Let signals end a block by an exception, so that what follows it is still done."""

    def end(number: int, _frame: object) -> None:
        click.echo(f"{signal.Signals(number).name}: ending; what was made is removed", err=True)
        sys.exit(128 + number)

    return _on_signals(end)


def undisturbed() -> AbstractContextManager[None]:
    """Say that it is not over yet, and go on with a block, whatever signal comes."""

    def wait(number: int, _frame: object) -> None:
        click.echo(f"{signal.Signals(number).name}: what was made is being removed; please wait", err=True)

    return _on_signals(wait)


@contextmanager
def made(account: Account, order: rig.Order, say: rig.Say) -> Iterator[rig.Rig]:
    """Have everything made for a block, and removed whatever happens."""
    with tempfile.TemporaryDirectory() as folder, ending_in_order():
        try:
            yield rig.make(account, order, Path(folder), say)
        finally:
            with undisturbed():
                try:
                    rig.remove(account, order.name, say)
                except BenchmarkError as error:
                    raise BenchmarkError(
                        f"{error.message}\n{order.name} is not wholly removed, and may cost money: "
                        "python -m operations benchmark clean"
                    ) from error


def clear_expired(account: Account, say: rig.Say) -> None:
    """Remove what runs have left that are over by their name; name those that may still go on."""
    for name in rig.leftovers(account):
        if rig.expires(name) < datetime.now(UTC):
            say(f"{name} was left by a run that was killed")
            rig.remove(account, name, say)
        else:
            say(
                f"{name} is there: a run that goes on until {rig.expires(name):%H:%M} UTC at most, or was killed; "
                "if so: python -m operations benchmark clean"
            )


def progress(began: float) -> rig.Say:
    """Return what prints a line with the time since the beginning."""

    def say(text: str) -> None:
        click.echo(f"[{time.monotonic() - began:5.0f} s] {text}", err=True)

    return say


def check(plan: str, client: str) -> None:
    """Raise BenchmarkError unless both plans can be ordered."""
    if plan not in STANDARD.plans:
        raise BenchmarkError(f'--plan: must be a PostgreSQL plan such as db-s-2vcpu-4gb, got "{plan}"')
    try:
        droplet_plan(client)
    except UnknownPlanError:
        raise BenchmarkError(f'--client: must be a Droplet\'s size such as s-2vcpu-4gb, got "{client}"') from None


@click.command()
@click.option("--plan", default="db-s-2vcpu-4gb", show_default=True, help="The cluster's plan; the tutorial's.")
@click.option("--region", type=click.Choice(REGIONS), default="nyc3", show_default=True)
@click.option("--client", default="s-2vcpu-4gb", show_default=True, help="Size of the Droplet that runs pgbench.")
@click.option(
    "--scale",
    type=click.IntRange(1),
    default=pgbench.SCALE,
    show_default=True,
    help="pgbench's; less where the disk is smaller.",
)
@click.option(
    "--seconds",
    type=click.IntRange(1, 3600),
    default=60,
    show_default=True,
    help="Of a measurement; the tutorial's are 600.",
)
@click.option("--rounds", type=click.IntRange(1, 20), default=3, show_default=True)
@click.option("--tutorial", is_flag=True, help="Measure only what the tutorial does: TPC-B.")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    default=Path(),
    help="Where pool.md, pool.svg and pool.json go: here.",
)
@click.option("--note", "notes", multiple=True, help="Something that the page shall say of the machines.")
@click.option(
    "--making",
    type=click.FloatRange(0),
    default=pgbench.MAKING,
    help="Seconds until cluster and client are there, for the estimate.",
    show_default=True,
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(
    *, plan: str, region: str, client: str, scale: int, seconds: int, rounds: int, tutorial: bool, folder: Path,
    notes: tuple[str, ...], making: float, yes: bool,
) -> None:  # fmt: skip
    """Measure what a connection pool does, as DigitalOcean's tutorial, on a cluster of its own."""
    check(plan, client)
    cases = pgbench.schedule(seconds, rounds, others=not tutorial)
    estimate = pgbench.duration(cases, scale, making)
    name = rig.new_name(datetime.now(UTC) + timedelta(seconds=2 * estimate) + GRACE)
    order = rig.Order(name=name, region=region, plan=plan, client=client, pool_size=pool_size(plan, 0))
    account = Account()
    confirm(announcement(order, estimate), yes=yes)
    began = time.monotonic()
    say = progress(began)
    try:
        clear_expired(account, say)
        with made(account, order, say) as there:
            fits = pgbench.scale_that_fits(scale, there.disk_gib)
            measure.fill(there, fits, say)
            settings = there.client.ask("settings")
            runs = measure.all_of(there, cases, say)
    except api.UnreadableError as error:
        raise BenchmarkError(str(error)) from error
    found = result.Result(
        date=f"{datetime.now(UTC):%Y-%m-%d}", region=region, plan=plan, client=client, pool_size=order.pool_size,
        scale=fits, wanted_scale=scale, seconds=seconds, rounds=rounds, took_s=round(time.monotonic() - began),
        settings=settings, notes=notes, runs=tuple(runs),
    )  # fmt: skip
    publish(found, folder)


def publish(found: result.Result, folder: Path) -> None:
    """Keep the result as data, page and plot, and print what it says of the tutorial."""
    result.write(found, folder / "pool.json")
    (folder / "pool.md").write_text(page.page(found), encoding="utf-8")
    (folder / "pool.svg").write_text(page.plot(found), encoding="utf-8")
    for one in verdict.statements(found.runs):
        click.echo(f"{one.text}: {one.verdict}; {one.why}")
    click.echo(f"{folder / 'pool.md'}, pool.svg, pool.json")
