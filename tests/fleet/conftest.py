"""The site that these tests change one after the other."""

import pytest

from tests.fleet.fleet import BALANCED, Fleet
from tests.worlds import Deployment


@pytest.fixture(scope="session")
def fleet(deployed: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """The deployed site behind a load balancer, with its one Droplet; it stays there: what comes later destroys it."""
    fleet = Fleet(deployed.world, tmp_path_factory.mktemp("projects"))
    fleet.up(BALANCED)
    return fleet
