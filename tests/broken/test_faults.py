"""Every API call of `up` and of `destroy` goes wrong once: the next try converges, with nothing orphaned or twice.

`make prove` plays the whole tables, of each call; `make test` one call of each kind.
"""

import contextlib
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.model.store import Store
from sandbox.world import world as worlds
from sandbox.world.world import World
from tests.api_client import Api, Body, connect
from tests.commands import run
from tests.processes import session
from tests.pulumi_stack import PulumiStack, Settings
from tests.worlds import last_request

OF_THE_ACCOUNT = {"project", "action"}  # there before any stack, or a record of what was done
# Nobody resolves a name at this depth, so there is no old record to wait for.
BALANCED: Settings = {"dnsPatience": 0, "web.loadBalancer": True, "web.publicNetwork": False}
# What only such a stack has, and takes minutes to be made.
SLOW = ("load_balancers", "certificates", "vpc_nat_gateways")
AT_REST = 0.5  # seconds without a call
TRIES = 60  # updates that a stack may need when each of its calls fails once


@pytest.fixture(scope="module")
def own_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world whose API misbehaves, which no other test may see."""
    home = Path(tmp_path_factory.getbasetemp().parent / f"f{time.monotonic_ns() % 10**8}")
    run("sandbox", "up", "--depth", "api", home=home)
    yield worlds.load(home)
    run("sandbox", "down", home=home)


@pytest.fixture
def api(own_world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The API, whose faults end with the test; clients wait no second between their tries."""
    monkeypatch.setenv("DIGITALOCEAN_HTTP_RETRY_WAIT_MIN", "0")
    with connect(own_world) as api:
        yield api
        api.raw.delete("/_sandbox/faults")


def there(world: World) -> Counter[str]:
    """How many of each kind the account has."""
    everything = Store(world.database, read_only=True).all()
    return Counter(resource.kind for resource in everything if resource.kind not in OF_THE_ACCOUNT)


def met(api: Api) -> list[str]:
    """Calls that went wrong."""
    calls: list[str] = api.ok(api.raw.get("/_sandbox/faults"))["met"]
    return calls


@dataclass(frozen=True, slots=True)
class Quiet:
    """A stack's life when nothing goes wrong."""

    resources: Counter[str]
    up: int  # calls, each counted once, by method and path
    up_changes: int  # of them those that change something
    destroy: int
    destroy_changes: int


@pytest.fixture(scope="module")
def quiet(own_world: World) -> Quiet:
    """Make the stack once, and destroy it."""
    return undisturbed(own_world)


@pytest.fixture(scope="module")
def quiet_balanced(own_world: World) -> Quiet:
    """The same with a load balancer, and without public addresses."""
    return undisturbed(own_world, BALANCED)


def undisturbed(world: World, settings: Settings | None = None) -> Quiet:
    """What a stack is like that nothing happens to."""
    stack = PulumiStack(world)

    def calls(command: str) -> tuple[int, int]:
        before = len(Store(world.database, read_only=True).requests())
        stack.run(command, "--yes", "--skip-preview", settings=settings)
        made = {
            (request["method"], re.sub(r"/actions/\d+$", "/actions/…", request["path"]))
            for request in Store(world.database, read_only=True).requests()[before:]
        }
        return len(made), len([method for method, _ in made if method != "GET"])

    up = calls("up")
    resources = there(world)
    destroy = calls("destroy")
    assert there(world) == Counter()
    return Quiet(resources, *up, *destroy)


def until_it_is_done(stack: PulumiStack, command: str, settings: Settings | None = None) -> int:
    """Repeat a command until it succeeds; return how often it failed, each time in the API's own words."""
    for number in range(TRIES):
        done = stack.run(command, "--yes", "--skip-preview", settings=settings, check=False)
        if done.returncode == 0:
            return number
        assert "sandbox: a fault was switched on for this call" in done.stdout, done.stdout + done.stderr
    pytest.fail(f"{command} still fails after {TRIES} tries:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


FAULTS: dict[str, Body] = {
    "429": {"kind": "status", "status": 429, "retry_after": 0},
    "500": {"kind": "status", "status": 500},
    "dropped": {"kind": "drop"},
}


def every_call_fails_once(
    world: World, api: Api, quiet: Quiet, fault: Body, settings: Settings | None = None, *, unmade: int = 0
) -> tuple[int, int]:
    """Make the stack and destroy it with this fault; return how often `up` and `destroy` failed on the way.

    So many calls of `destroy` are `unmade` where one before them fails.
    """
    stack = PulumiStack(world)
    api.fault(each=True, **fault)
    up = until_it_is_done(stack, "up", settings)
    # One is not made: nobody asks how many Droplets there are when the account's limit is not told.
    assert len(met(api)) >= quiet.up - 1, met(api)
    assert there(world) == quiet.resources
    stack.settled(settings)

    api.raw.delete("/_sandbox/faults")
    api.fault(each=True, **fault)
    destroy = until_it_is_done(stack, "destroy", settings)
    assert len(met(api)) >= quiet.destroy - unmade, met(api)
    assert there(world) == Counter()
    return up, destroy


@pytest.mark.parametrize(
    "fault", ["500", *(pytest.param(name, marks=pytest.mark.prove) for name in ("429", "dropped"))]
)
def test_what_clients_try_again(own_world: World, api: Api, quiet: Quiet, fault: str) -> None:
    """Too many calls, a server's error and a broken connection are no reason to fail: one `up`, one `destroy`."""
    assert every_call_fails_once(own_world, api, quiet, FAULTS[fault]) == (0, 0)


def test_a_call_that_is_refused(own_world: World, api: Api, quiet: Quiet) -> None:
    """422 ends `up` at the Droplet, and `destroy` too: the next one goes on from there."""
    stack = PulumiStack(own_world)
    refused: Body = {"kind": "status", "status": 422, "each": True, "path": "/v2/droplets*"}
    api.fault(method="POST", **refused)
    assert until_it_is_done(stack, "up") == 1
    assert met(api) == ["POST /v2/droplets"]
    assert there(own_world) == quiet.resources
    stack.settled()
    api.fault(method="DELETE", **refused)
    assert until_it_is_done(stack, "destroy") == 1
    assert len(met(api)) == 2
    assert there(own_world) == Counter()


@pytest.mark.prove
def test_what_nobody_tries_again(own_world: World, api: Api, quiet: Quiet) -> None:
    """422 ends a command at each call in turn, and the next one goes on from there."""
    up, destroy = every_call_fails_once(own_world, api, quiet, {"kind": "status", "status": 422})
    assert up > 5
    assert destroy > 5


# Calls that `recover` does not make while it takes over what this command had begun, and the others.
CHANGING = {"up": ("POST", "PUT"), "destroy": ("POST", "PUT", "DELETE")}
READING = {"up": ("GET", "DELETE"), "destroy": ("GET",)}


def hold(api: Api, *methods: str, path: str = "*") -> None:
    """Keep back the answers to the first call of each kind."""
    for method in methods:
        api.fault(each=True, kind="hold", method=method, path=path)


def killed_at_its_next_call(world: World, api: Api, command: str, settings: Settings | None = None) -> bool:
    """Run a command and kill it as soon as one more call has been made, and done, but not answered; or let it end."""
    before = len(met(api))
    process = PulumiStack(world).start(command, "--yes", "--skip-preview", settings=settings)
    while process.poll() is None and len(met(api)) == before:
        time.sleep(0.02)
    if process.poll() is not None:
        said = process.communicate()[0]
        assert process.returncode == 0, said
        return False
    while alive := session(process.pid):
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.poll()
        time.sleep(0.01)
    process.communicate()
    return True


def until_the_api_is_at_rest(world: World) -> None:
    """Wait for what dead processes had still sent: on a busy machine it arrives late."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < AT_REST:
        if (now := last_request(world)) != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.02)


def recover(world: World, api: Api, *methods: str) -> None:
    """Take over what a command had begun that was killed; hold these calls of the next one."""
    # What recovers is not killed. A call that comes in only now, of a process that is dead, still counts.
    api.raw.delete("/_sandbox/faults?keep=met")
    hold(api, *methods)
    until_the_api_is_at_rest(world)
    PulumiStack(world).run("recover")


def test_pulumi_is_killed_at_one_call(own_world: World, api: Api, quiet: Quiet) -> None:
    """`scripts/stack … recover` takes over a Droplet that was made and is not known of, or is gone and still known."""
    stack = PulumiStack(own_world)
    for command, method, left in (("up", "POST", quiet.resources), ("destroy", "DELETE", Counter[str]())):
        hold(api, method, path="/v2/droplets*")
        assert killed_at_its_next_call(own_world, api, command)
        recover(own_world, api)
        stack.run(command, "--yes", "--skip-preview")
        assert there(own_world) == left
        api.raw.delete("/_sandbox/faults")
        if command == "up":
            stack.settled()


@pytest.mark.prove
@pytest.mark.parametrize("command", ["up", "destroy"])
def test_pulumi_is_killed_at_each_call(own_world: World, api: Api, quiet: Quiet, command: str) -> None:
    """`scripts/stack … recover` takes over what was made and is not known of: nothing is orphaned, nothing twice."""
    stack = PulumiStack(own_world)
    if command == "destroy" and there(own_world) != quiet.resources:  # `up` was not killed before
        stack.up()
    kills = 0
    hold(api, *CHANGING[command])
    while kills <= TRIES:
        hold(api, *READING[command])
        if not killed_at_its_next_call(own_world, api, command):
            break
        kills += 1
        recover(own_world, api, *CHANGING[command])
    assert 5 < kills < TRIES
    # What an update reads after it made something, the recovery has read instead.
    calls = {"up": quiet.up_changes, "destroy": quiet.destroy_changes}[command]
    assert len([call for call in met(api) if not call.startswith("GET ")]) >= calls, met(api)
    api.raw.delete("/_sandbox/faults")
    assert there(own_world) == {"up": quiet.resources, "destroy": Counter[str]()}[command]
    if command == "up":
        stack.settled()


@pytest.mark.prove
@pytest.mark.parametrize("fault", ["500", "422"])
def test_calls_of_a_stack_with_a_load_balancer_fail(
    own_world: World, api: Api, quiet_balanced: Quiet, fault: str
) -> None:
    """As without one: what clients try again costs nothing, and after what nobody does the next command goes on."""
    status: Body = {"kind": "status", "status": int(fault)}
    # Who could not end the balancer before its firewall does not look whether it has gone.
    up, destroy = every_call_fails_once(own_world, api, quiet_balanced, status, BALANCED, unmade=1)
    assert (up == destroy == 0) if fault == "500" else (up > 5 and destroy > 5)


@pytest.mark.prove
def test_pulumi_is_killed_while_a_load_balancer_is_made(own_world: World, api: Api, quiet_balanced: Quiet) -> None:
    """And its certificate, and the NAT gateway: none is orphaned, there twice, or in the way of `destroy`."""
    stack = PulumiStack(own_world)
    for command, method, left in (("up", "POST", quiet_balanced.resources), ("destroy", "DELETE", Counter[str]())):
        for kind in SLOW:
            hold(api, method, path=f"/v2/{kind}*")
        kills = 0
        while killed_at_its_next_call(own_world, api, command, BALANCED):
            kills += 1
            until_the_api_is_at_rest(own_world)
            stack.run("recover")
        assert {call.split("/")[2] for call in met(api)} == set(SLOW)
        assert kills >= len(SLOW) - 1  # two may be made at the same time
        api.raw.delete("/_sandbox/faults")
        assert there(own_world) == left
        if command == "up":
            stack.settled(BALANCED)
