"""The same promises without a load balancer: one Droplet, behind its own address."""

import pytest

from tests.fleet.fleet import Fleet
from tests.fleet.traffic import nothing_lost, traffic
from tests.projects.test_broken_releases import BROKEN
from tests.pulumi_stack import Settings

pytestmark = [pytest.mark.full, pytest.mark.prove]

ONE: Settings = {"web.loadBalancer": False, "web.count": 1, "dnsPatience": 0}


def test_a_release_its_rollback_and_a_broken_one(fleet: Fleet) -> None:
    """Nothing is lost behind Gunicorn's socket."""
    fleet.up(ONE)
    first = fleet.stack.outputs()["release"]
    change, texts = BROKEN["a first page that fails"]
    with traffic(fleet.world) as seen:
        fleet.up({"app.env.MARK": "one Droplet"})
        assert fleet.serving() == {fleet.stack.outputs()["release"]} != {first}
        fleet.up({"app.release": first})
        del fleet.settings["app.release"]
        said = fleet.refused({"app.path": fleet.project(change)})
    assert [text for text in texts if text not in said] == []
    assert fleet.serving() == {first}
    nothing_lost(seen)
