"""New and existing clusters of both editions, with the real engine: what is refused, what goes on, what is lost."""

import json
from collections.abc import Iterator

import pytest

from sandbox.model.store import Store
from sandbox.world.world import World
from sizing.editions import POOLS_UNKNOWN, WAYS_OUT, beyond_a_new_cluster
from tests.api_client import Api, connect
from tests.commands import run
from tests.pulumi_stack import PulumiStack, Settings
from tests.worlds import last_request

PACK = ("--policy-pack", "policy/run")
LARGE: Settings = {"database.size": "db-s-4vcpu-8gb", "database.nodes": 2}
LARGER: Settings = {"database.size": "db-s-6vcpu-16gb", "database.nodes": 3}
RESIZED: Settings = {"database.size": "db-s-1vcpu-2gb", "database.storage.increment": 20}
ADVANCED: Settings = {"database.edition": "advanced", "database.size": "gd-2vcpu-8gb", "database.nodes": 2}


@pytest.fixture(scope="module")
def api(world: World) -> Iterator[Api]:
    """Its API, past Pulumi."""
    with connect(world) as api:
        yield api


def fresh(world: World) -> PulumiStack:
    """The stack "local", of which nothing is left, in an account that is a new one again."""
    stack = PulumiStack(world)
    stack.forget()
    return stack


@pytest.fixture
def stack(world: World) -> PulumiStack:
    """The stack "local", not deployed yet."""
    return fresh(world)


@pytest.fixture(scope="module")
def large(world: World, api: Api) -> PulumiStack:
    """A cluster of 8 GiB with a standby, of an account that could still make it and can't any more."""
    stack = fresh(world)
    api.switch(old_clusters=True)
    stack.up(settings={**LARGE, "database.acceptPlan": True})
    api.switch(old_clusters=False)
    return stack


@pytest.fixture(scope="module")
def small(world: World) -> PulumiStack:
    """The plan of its own settings, which the first test deploys."""
    return fresh(world)


def changes(world: World, after: int) -> list[str]:
    """What the API was asked to change since a request."""
    requests = Store(world.database, read_only=True).requests(after)
    return [f"{request['method']} {request['path']}" for request in requests if request["method"] != "GET"]


def refusal(stack: PulumiStack, *argv: str, settings: Settings) -> str:
    """What a command prints that is refused."""
    done = stack.run(*argv, settings=settings, check=False)
    printed = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0, printed
    assert "Traceback" not in printed
    return printed


def report(stack: PulumiStack, monkeypatch: pytest.MonkeyPatch, *argv: str, settings: Settings) -> str:
    """What `make preview` says."""
    with monkeypatch.context() as patch:
        patch.setenv("PULUMI_ENABLE_STREAMING_JSON_PREVIEW", "true")
        events = stack.run("preview", "--json", *argv, settings=settings, check=False).stdout
    file = stack.world.home / "events"
    file.write_text(events)
    return run(
        "python",
        "-m",
        "operations",
        "preview",
        "report",
        "--stack",
        stack.name,
        str(file),
        home=stack.world.home,
        check=False,
    ).stdout


def words(engine: str, gib: int, nodes: int) -> list[str]:
    """The rules that a new cluster breaks."""
    return [rule for _, rule in beyond_a_new_cluster(engine, gib, nodes)]


def test_a_new_cluster_beyond_the_limits_is_refused_before_anything_is_made(
    stack: PulumiStack, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both problems together, with date and ways out; with the pack, too; and the API is asked to change nothing.

    `make preview` has the same words: refused, for each reason, and nothing about hooks.
    """
    mark = last_request(world)
    for argv in (("preview",), ("up", "--yes", *PACK)):
        printed = refusal(stack, *argv, settings=LARGE)
        for setting, rule, got in zip(("size", "nodes"), words("pg", 8, 2), ('"db-s-4vcpu-8gb"', 2), strict=True):
            assert f"database.{setting}: {rule}, got {got}; {WAYS_OUT}" in printed
        assert "since 30 November 2026" in printed
    told = report(stack, monkeypatch, *PACK, settings=LARGE)
    head, _, *lines = told.splitlines()
    assert head == "### `local`: **refused**"
    assert lines[0] == f'- **REFUSED**: database.size: {words("pg", 8, 2)[0]}, got "db-s-4vcpu-8gb"; {WAYS_OUT}'
    assert lines[1] == f"- **REFUSED**: database.nodes: {words('pg', 8, 2)[1]}, got 2; {WAYS_OUT}"
    assert "hook" not in told.partition("<details>")[0]
    assert changes(world, mark) == []
    assert stack.resources().keys() <= {"django-do-local"}


def test_what_is_accepted_by_name_is_left_to_digitalocean(stack: PulumiStack) -> None:
    """The preview passes; this account may not have it, and the API's words are the error."""
    printed = refusal(stack, "up", "--yes", *PACK, settings={**LARGE, "database.acceptPlan": True})
    preview, _, update = printed.partition("Updating (")
    assert "to create" in preview
    words = "this plan is not available for new PostgreSQL clusters any more"  # a bare 422 may be in any id
    assert [words in preview, words in update] == [False, True]


@pytest.mark.prove
def test_an_existing_larger_cluster_goes_on(large: PulumiStack, world: World) -> None:
    """Unchanged, with the pack, resized, refreshed; but what would be made in its place is refused, with its data."""
    unchanged = large.run("preview", "--expect-no-changes", *PACK, settings=LARGE)
    assert "database-new-cluster" not in unchanged.stdout
    large.run("preview", *PACK, settings=LARGER)
    assert "update db" in {step.what for step in large.up(settings=LARGER)}
    large.run("refresh", "--yes", "--skip-preview", "--expect-no-changes", settings=LARGER)

    mark = last_request(world)
    printed = refusal(large, "up", "--yes", settings={**LARGER, "network.cidr": "10.45.0.0/20"})
    assert words("pg", 16, 3)[0] in printed
    assert changes(world, mark) == []


@pytest.mark.prove
def test_an_existing_larger_cluster_is_imported(large: PulumiStack, world: World) -> None:
    """Nothing is made, so nothing is refused."""
    stack, settings = large, LARGER
    found = stack.resources()["db"]
    # Forgotten by Pulumi with all that hangs on it, and taken over again.
    stack.run("state", "delete", found["urn"], "--target-dependents", "--force", "--yes")
    assert "db" not in stack.resources()
    # Components share the stack's own name, so they are found by their type.
    state = json.loads(stack.run("stack", "export").stdout)["deployment"]["resources"]
    parent = next(one["urn"] for one in state if one["type"] == "django-do:database:Database")
    stack.run(
        *("import", "digitalocean:index/databaseCluster:DatabaseCluster", "polls-local-db", found["id"]),
        *("--parent", f"database={parent}", "--yes", "--skip-preview", "--generate-code=false"),
        settings=settings,
    )
    assert stack.resources()["db"]["id"] == found["id"]
    mark = last_request(world)
    printed = stack.run("preview", *PACK, settings=settings).stdout
    assert "DatabaseCluster polls-local-db update" in printed
    assert changes(world, mark) == []


@pytest.mark.prove
def test_a_failing_authority_ends_in_the_apis_words(small: PulumiStack, api: Api) -> None:
    """In `up` and in a preview of what exists, once; the cluster is kept, and the next `up` goes on."""
    stack = small
    api.fault(kind="status", method="GET", path="/v2/databases/*/ca", status=403, message="you may not", count=1)
    printed = refusal(stack, "up", "--yes", "--skip-preview", settings={"protect": True})
    cluster = stack.resources()["db"]["id"]
    assert f"GET https://api.digitalocean.com/v2/databases/{cluster}/ca: 403" in printed
    assert "you may not; run the command again" in printed
    assert printed.split("Diagnostics:")[1].count("you may not") == 1
    stack.up(settings={"protect": True})
    assert stack.resources()["db"]["id"] == cluster
    api.fault(kind="status", method="GET", path="/v2/databases/*/ca", status=404, message="no such thing", count=1)
    assert "no such thing; run the command again" in refusal(stack, "preview", settings={"protect": True})


@pytest.mark.prove
def test_a_disk_that_has_grown_by_itself_is_no_drift(
    small: PulumiStack, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither refresh nor preview takes it back, a resize keeps it, and the estimate counts it."""
    stack = small
    stack.up(settings={"protect": True})
    cluster = stack.resources()["db"]["id"]
    grown = api.grow(cluster)
    assert stack.steps("refresh") == []
    # $26.15 as it is in docs/cost.md, and 10 GiB at $0.215.
    told = report(stack, monkeypatch, settings={"protect": True})
    assert told.startswith("### `local`: nothing changes")
    assert "Cost: about $28.30 a month, as before" in told
    assert stack.resources()["db"]["outputs"]["storageSizeMib"] == str(grown)
    stack.up(settings={**RESIZED, "protect": True})
    found = api.ok(api.raw.get(f"/v2/databases/{cluster}"))["database"]
    # The larger plan's 30 GiB, and the 10 that had been added.
    assert found["storage_size_mib"] == 40 * 1024


@pytest.mark.prove
def test_another_edition_is_a_loss_of_data(small: PulumiStack, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said first by the preview, refused by `protect`, done without it."""
    stack = small
    stack.up(settings={**RESIZED, "protect": True})
    mark = last_request(world)
    printed = refusal(stack, "up", "--yes", settings={**ADVANCED, "protect": True})
    assert "protect" in printed
    assert changes(world, mark) == []

    stack.up(settings=RESIZED)
    told = report(stack, monkeypatch, settings=ADVANCED)
    assert told.startswith("### `local`: **DATA LOSS**")
    assert "`polls-local-db` is replaced, and everything in it with it. Because of: `database.edition`" in told
    assert f"- **CARE**: {POOLS_UNKNOWN}." in told
    stack.up(settings=ADVANCED)
    cluster = Store(world.database, read_only=True).get("database", stack.resources()["db"]["id"])
    assert cluster is not None
    assert cluster.body["engine"] == "advanced_pg"


@pytest.mark.prove
def test_advanced_lives_and_dies(stack: PulumiStack, api: Api, world: World) -> None:
    """Preview, up, a second up and a refresh without change, and destroy; nobody asks for an authority of its own.

    Where there are no pools: the API's words, and that nobody has said whether there are any.
    """
    mark = last_request(world)
    stack.run("preview", *PACK, settings=ADVANCED)
    api.switch(advanced_pools=False)
    printed = refusal(stack, "up", "--yes", "--skip-preview", settings=ADVANCED)
    diagnostics = printed.split("Diagnostics:")[1]
    assert POOLS_UNKNOWN in diagnostics
    assert f"/v2/databases/{stack.resources()['db']['id']}/pools: 422" in diagnostics
    api.switch(advanced_pools=True)

    stack.up(settings=ADVANCED)
    stack.run("up", "--yes", "--skip-preview", "--expect-no-changes", settings=ADVANCED)
    stack.run("refresh", "--yes", "--skip-preview", "--expect-no-changes", settings=ADVANCED)
    asked = Store(world.database, read_only=True).requests(mark)
    assert [request["path"] for request in asked if request["path"].endswith("/ca")] == []
    stack.steps("destroy", settings=ADVANCED)
    assert stack.resources().keys() <= {"django-do-local"}
