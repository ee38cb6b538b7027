"""The stack "prod" as a whole: two Droplets behind a load balancer, met by a visitor in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.api_client import connect
from tests.browser.test_polls import ANSWER, SAMPLE, votes
from tests.pulumi_stack import PulumiStack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browser.visitor import Visitor
    from tests.worlds import Deployment

pytestmark = [pytest.mark.full, pytest.mark.prove]

# Answers of the public address that are asked for, so that both Droplets come to answer.
ASK = "for _ in 1 2 3 4 5 6 7 8; do curl -sS https://www.polls.example/healthz; echo; done"


@pytest.fixture
def production(deployed: Deployment) -> Iterator[PulumiStack]:
    """Deployed with its own settings beside the stack "local", and destroyed when that was allowed twice."""
    stack = PulumiStack(deployed.world, "prod", "polls-prod")
    stack.run("up", "--yes", "--skip-preview", "--policy-pack", "policy/run")
    yield stack
    stack.up(settings={"production": False, "protect": False, "storage.forceDestroy": True})
    stack.run("destroy", "--yes", "--skip-preview")


def test_a_visitor_is_served_by_production(deployed: Deployment, production: PulumiStack, visitor: Visitor) -> None:
    """A vote through the balancer counts; both Droplets answer there, are backed up and watched."""
    production.run("up", "--yes", "--skip-preview", "--expect-no-changes")
    outputs = production.outputs()
    with connect(deployed.world) as api:
        [balancer] = api.ok(api.raw.get("/v2/load_balancers"))["load_balancers"]
        [record] = [
            one
            for one in api.ok(api.raw.get("/v2/domains/www.polls.example/records"))["domain_records"]
            if one["type"] == "A"
        ]
        droplets = [api.ok(api.raw.get(f"/v2/droplets/{one}"))["droplet"] for one in outputs["droplet_ids"]]
        alerts = api.ok(api.raw.get("/v2/monitoring/alerts"))["policies"]
    assert outputs["ip_address"] == balancer["ip"] == record["data"]
    assert ["backups" in droplet["features"] for droplet in droplets] == [True, True]
    assert {address for policy in alerts for address in policy["alerts"]["email"]} == {"operations@polls.example"}
    answers = deployed.exec("bash", "-c", ASK).stdout.split("\n")
    assert len({one for one in answers if one}) == 2, answers

    url = outputs["url"]
    page = visitor.open(url)
    visitor.follow(f"Result of: {SAMPLE}")
    before = votes(page, ANSWER)
    visitor.open(url)
    visitor.follow(SAMPLE)
    page.get_by_label(ANSWER).check()
    visitor.press("Vote")
    expect(page.get_by_role("status")).to_have_text(f"Your vote for “{ANSWER}” is counted.")
    assert votes(page, ANSWER) == before + 1
    assert {response.request.url.split("/")[2] for response in visitor.responses} == {
        *("www.polls.example", outputs["cdn_endpoint"])
    }
