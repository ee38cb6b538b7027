"""Changes behind Pulumi's back, with the real engine: what finds them, what fixes them, and docs/drift.md.

`make prove` plays all of them; `make test` those that go together, and one of each kind that does not. What stands
behind a load balancer needs a deployment of its own: `make prove` alone plays it.
"""

from collections.abc import Iterator

import pytest

from sandbox.world.world import World
from tests.api_client import Api, connect
from tests.commands import ROOT
from tests.pulumi_stack import PulumiStack, Settings
from tests.stack import drift
from tests.stack.drift import Case, Site


@pytest.fixture(scope="module")
def stack(api_world: World) -> Iterator[PulumiStack]:
    """The stack "local", deployed; destroyed in the end as a user does it after such changes, with a refresh."""
    stack = PulumiStack(api_world)
    stack.up()
    yield stack
    stack.steps("destroy", "--refresh")


@pytest.fixture(scope="module")
def balanced(world: World) -> PulumiStack:
    """The stack "local" in a world of its own, with two Droplets behind a load balancer."""
    stack = PulumiStack(world)
    stack.up(settings=drift.BALANCED_SETTINGS)
    return stack


def play(api: Api, stack: PulumiStack, cases: tuple[Case, ...], settings: Settings | None = None) -> None:
    """Make the changes, and see each of them found and fixed; problems are said together, by the case's name."""
    before = Site(api, stack)
    assert [case.what for case in cases if not case.holds(before)] == []
    for case in cases:
        case.change(before)
    # A change that changes nothing would prove nothing.
    assert [case.what for case in cases if case.holds(before)] == []

    found = {step.what for step in stack.steps("refresh")}
    assert found == {step for case in cases for step in case.refresh}
    done = {step.what for step in stack.up(settings=settings)}
    assert [case.what for case in cases if not done >= set(case.up)] == [], done

    after = Site(api, stack)
    assert [case.what for case in cases if not case.holds(after)] == []
    stack.settled(settings)


def test_changes_are_found_and_taken_back(api: Api, stack: PulumiStack) -> None:
    """Each in place, all at once."""
    play(api, stack, drift.CHANGED)


def test_what_was_deleted_is_found_and_made_again(api: Api, stack: PulumiStack) -> None:
    """What stands by itself, all at once."""
    play(api, stack, drift.DELETED)


def rows(cases: list[Case] | list[drift.Unseen], always: str) -> list[object]:
    """Each case, of which `make test` plays one: it needs a round of the engine for each."""
    assert [case.what for case in cases].count(always) == 1
    return [
        pytest.param(case, id=case.what, marks=[] if case.what == always else [pytest.mark.prove]) for case in cases
    ]


@pytest.mark.parametrize("case", rows(list(drift.ALONE), "The Droplet was deleted"))
def test_what_others_depend_on_is_made_again_with_them(api: Api, stack: PulumiStack, case: Case) -> None:
    """Address, Droplet and the agent's key; what depends on them follows."""
    play(api, stack, (case,))


@pytest.mark.prove
@pytest.mark.parametrize("case", [pytest.param(case, id=case.what) for case in drift.BALANCED])
def test_what_stands_behind_a_load_balancer_is_found_and_taken_back(balanced: PulumiStack, case: Case) -> None:
    """The balancer, its certificate, its Droplets and their way out."""
    with connect(balanced.world) as api:
        play(api, balanced, (case,), drift.BALANCED_SETTINGS)


@pytest.mark.prove
def test_a_missing_cors_configuration_stops_refresh_and_has_a_way_out(api: Api, stack: PulumiStack) -> None:
    """The error names it, `up` alone sees nothing, and replacing it brings the rules back."""
    site = Site(api, stack)
    site.api.s3().delete_bucket_cors(Bucket=site.buckets["assets"])
    refused = stack.run("refresh", "--yes", "--skip-preview", check=False)
    assert refused.returncode != 0
    assert "NoSuchCORSConfiguration" in refused.stdout + refused.stderr
    assert stack.up() == []
    assert site.cors() == []

    stack.up("--replace", "**-assets-cors")
    assert [rule["AllowedOrigins"] for rule in site.cors()] == [["https://polls.example"]]
    assert stack.steps("refresh") == []


@pytest.mark.parametrize("case", rows([case for case in drift.UNSEEN if case.change], "The ACL of a Space was changed"))
def test_what_is_not_found_is_really_not_found(api: Api, stack: PulumiStack, case: drift.Unseen) -> None:
    """The page warns of it for good reason: should it be found some day, the page has to say so."""
    assert case.change is not None
    assert case.stays is not None
    site = Site(api, stack)
    case.change(site)
    assert stack.steps("refresh") == []
    stack.settled()
    assert case.stays(site)


def test_the_page_is_current() -> None:
    """`python -m tests.stack.drift > docs/drift.md` would change nothing."""
    assert (ROOT / "docs" / "drift.md").read_text() == drift.page()
