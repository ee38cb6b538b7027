"""What a changed setting does, with the real engine: in place or by replacement, in which order, with which calls."""

import re
from collections.abc import Iterator

import pytest

from sandbox.model.store import Store
from sandbox.world.world import World
from tests.api_client import PUBLIC_KEY, Api
from tests.pulumi_stack import PulumiStack, Settings, Step
from tests.worlds import last_request

# Ids, so that paths can be compared.
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b\d{4,}\b|\d+(\.\d+){3}")


class Changing:
    """A deployed stack whose settings are changed step by step, and what the API was asked meanwhile."""

    def __init__(self, stack: PulumiStack) -> None:
        self.stack = stack
        self.settings: dict[str, object] = {}

    def up(self, settings: Settings) -> tuple[list[Step], list[str]]:
        """Change settings and deploy; return the engine's steps, and the calls that change something, in order."""
        mark = last_request(self.stack.world)
        self.settings |= settings
        steps = self.stack.up(settings=self.settings)
        requests = Store(self.stack.world.database, read_only=True).requests(mark)
        calls = [
            f"{request['method']} {ID.sub('…', request['path']).removeprefix('/v2/')}"
            for request in requests
            if request["method"] != "GET"
        ]
        return steps, calls


@pytest.fixture(scope="module")
def changing(api_world: World) -> Iterator[Changing]:
    """The stack "local", deployed."""
    stack = PulumiStack(api_world)
    stack.up()
    yield Changing(stack)
    stack.forget()


def test_names_of_calls_are_comparable() -> None:
    """Ids go, names stay: or else the tests below would compare nothing."""
    assert ID.sub("…", "databases/c2e2dae3-3305-5924-aad7-8cf968b9fe2a/pools/app-pool") == "databases/…/pools/app-pool"


def ordered(calls: list[str], *wanted: str) -> list[str]:
    """The wanted ones among the calls, in the order in which they came."""
    return [call for call in calls if call in wanted]


def test_most_settings_change_in_place(changing: Changing) -> None:
    """CORS, CDN, trusted sources, maintenance: one update each, nothing replaced, the database never open."""
    steps, calls = changing.up(
        {
            "storage.cors.origins": ["https://www.polls.example"],
            "storage.cdn.ttl": 600,
            "database.trustedSources": ["192.0.2.1"],
            "database.maintenance.day": "friday",
        }
    )
    assert sorted(step.what for step in steps) == [
        *("update assets-cors", "update cdn", "update db", "update trusted-sources")
    ]
    assert sorted(calls) == [
        *("PUT cdn/endpoints/…", "PUT databases/…/firewall", "PUT databases/…/maintenance"),
    ]


@pytest.mark.prove
def test_a_timeout_changes_the_roles_only(changing: Changing) -> None:
    """The grants run again, behind a firewall that names this machine; the API is asked for nothing."""
    steps, calls = changing.up({"database.timeouts.statement": 20})
    assert [step.what for step in steps] == ["update grants"]
    assert calls == []


def test_a_pool_of_another_size_is_deleted_before_it_is_made(changing: Changing) -> None:
    """Its name is taken, and a pool of full size would leave no connections for a second one."""
    steps, calls = changing.up({"pool.size": 10})
    assert [step.what for step in steps] == ["delete-replaced pool", "replace pool", "create-replacement pool"]
    assert calls == ["DELETE databases/…/pools/app-pool", "POST databases/…/pools"]


def test_a_larger_database_is_resized_and_upgraded_with_its_data(changing: Changing) -> None:
    """By the API's own calls; no cluster is made or deleted, and the pool of fixed size stays."""
    steps, calls = changing.up({"database.size": "db-s-1vcpu-2gb", "database.nodes": 2, "database.version": "18"})
    assert [step.what for step in steps] == ["update db"]
    assert sorted(calls) == ["PUT databases/…/resize", "PUT databases/…/upgrade"]


def test_a_pool_of_automatic_size_follows_the_plan(changing: Changing) -> None:
    """All that the new plan leaves."""
    changing.settings.pop("pool.size")
    steps, _ = changing.up({})
    assert [step.what for step in steps] == ["delete-replaced pool", "replace pool", "create-replacement pool"]
    assert changing.stack.outputs()["pool_size"] == 2 * 25 - 5


REPLACED = ("POST droplets", "POST reserved_ips/…/actions", "DELETE droplets/…")


def replaces_the_droplet(changing: Changing, settings: Settings, because: str) -> None:
    """Make the new Droplet, let it report the release, move the address, and only then delete the old one."""
    steps, calls = changing.up(settings)
    done = [step.what for step in steps]
    assert [step.changed for step in steps if step.what == "replace web-1"] == [(because,)]
    order = ["create-replacement web-1", "update rollout", "create-replacement assignment", "delete-replaced web-1"]
    assert [what for what in done if what in order] == order
    assert ordered(calls, *REPLACED) == list(REPLACED)
    assert {what for what in done if what.endswith(" db")} == set()


@pytest.mark.prove
def test_a_package_replaces_the_droplet(changing: Changing) -> None:
    """It changes the user data, which is read at the first boot only."""
    replaces_the_droplet(changing, {"web.packages": ["gettext"]}, "userData")


@pytest.mark.prove
def test_another_image_replaces_the_droplet(changing: Changing, api: Api) -> None:
    """A snapshot is named by its number."""
    [image] = [image["id"] for image in api.ok(api.raw.get("/v2/images?per_page=200"))["images"]
               if image["slug"] == "debian-13-x64"]  # fmt: skip
    replaces_the_droplet(changing, {"web.image": image}, "image")


@pytest.mark.prove
def test_a_plan_with_other_workers_replaces_the_droplet(changing: Changing) -> None:
    """More memory does not help without more workers, and their number is part of the user data."""
    steps, _ = changing.up({"web.size": "s-2vcpu-4gb"})
    assert [set(step.changed) for step in steps if step.what == "replace web-1"] == [{"size", "userData"}]


@pytest.mark.prove
def test_a_plan_with_the_same_workers_is_taken_in_place(changing: Changing) -> None:
    """Off, resized, on: the site is down for that while, which docs/runbook.md says."""
    changing.up({"web.workers": 3})
    steps, calls = changing.up({"web.size": "s-4vcpu-8gb"})
    assert [step.what for step in steps] == ["update web-1"]
    assert calls == ["POST droplets/…/actions"] * 3


@pytest.mark.prove
def test_ssh_is_opened_in_place(changing: Changing, api: Api) -> None:
    """The key replaces the Droplet; from where SSH is open is the firewall's."""
    key = api.ok(api.post("/v2/account/keys", {"name": "person", "public_key": PUBLIC_KEY}))["ssh_key"]
    replaces_the_droplet(changing, {"network.sshKeys": [key["fingerprint"]]}, "sshKeys")
    steps, calls = changing.up({"network.sshFrom": ["192.0.2.7"]})
    assert [step.what for step in steps] == ["update direct-firewall"]
    assert calls == ["PUT firewalls/…"]
