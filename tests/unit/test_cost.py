"""What an environment costs: plans have prices with a source, what has none is unknown, and differences add up."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.preview import cost, events, report
from operations.preview.events import Preview, Resource
from sizing.plans import DATABASE_PLANS, droplet_plan
from tests.unit.test_preview import END, NOTHING, event


def resource(kind: str, name: str, package: str = "digitalocean", **inputs: object) -> Resource:
    """One resource as a preview has it."""
    return Resource(package=package, kind=kind, name=name, inputs=inputs)


DROPLET = resource("Droplet", "web", size="s-1vcpu-2gb", backups=False)
CLUSTER = resource("DatabaseCluster", "db", engine="pg", size="db-s-1vcpu-2gb", nodeCount=2)
SPACE = resource("SpacesBucket", "media")
ADDRESS = resource("ReservedIp", "address")


def told(had: list[Resource], has: list[Resource]) -> list[str]:
    """The lines of a change from some resources to others."""
    sides: list[Mapping[str, Resource]] = [{one.name: one for one in side} for side in (had, has)]
    return list(cost.lines(Preview(had=dict(sides[0]), has=dict(sides[1]))))


def test_every_price_says_who_said_so_when() -> None:
    """On a page or by the API of DigitalOcean, and not in the future."""
    assert len(cost.prices()) > 50
    for key, price in cost.prices().items():
        assert price.amount > 0, key
        assert price.source.startswith(
            ("https://www.digitalocean.com/", "https://docs.digitalocean.com/", "https://api.digitalocean.com/")
        )
        assert date(2025, 1, 1) < price.date <= date.today(), key  # noqa: DTZ011 the table has days, not moments


def test_every_priced_plan_is_one_of_the_settings() -> None:
    """A misspelled one would never be found."""
    for kind, plan in cost.prices():
        if kind == "Droplet":
            droplet_plan(str(plan))
        assert kind != "DatabaseCluster" or plan in DATABASE_PLANS


@pytest.mark.parametrize(
    ("billed", "monthly"),
    [
        (DROPLET, "12.00"),
        (resource("Droplet", "web", size="s-4vcpu-8gb", backups=True), "57.60"),
        (resource("Droplet", "web", size="s-1vcpu-1gb", backups=True, backupPolicy={"plan": "daily"}), "7.80"),
        (CLUSTER, "60.90"),
        (ADDRESS, "5.00"),
        (SPACE, "5.00"),
        (resource("Vpc", "vpc"), "0.00"),
        (resource("Rollout", "rollout", package="django-do-runner"), "0.00"),
    ],
    ids=lambda value: value.kind if isinstance(value, Resource) else None,
)
def test_what_things_cost(billed: Resource, monthly: str) -> None:
    """Standby nodes and backups included."""
    bill = cost.bill([billed])
    assert cost.total(bill) == Decimal(monthly)
    assert all(item.monthly for item in bill.values())


def test_a_nat_gateway_has_no_price_yet() -> None:
    """No source was found for one, so it is named, and the sum is the least that it can be."""
    gateway = resource("VpcNatGateway", "nat-gateway", size=1)
    first, _, item, *_ = told([DROPLET], [DROPLET, gateway])
    assert first == "Cost: at least $12.00 a month (was $12.00, +$0.00 of what is known)"
    assert item == "- NAT gateway `nat-gateway`: unknown (size 1), new"


def test_advanced_has_a_least_price_for_each_node() -> None:
    """Which plan costs that is not known, so the sum is the least that it can be, and says so."""
    advanced = resource("DatabaseCluster", "db", engine="advanced_pg", size="gd-4vcpu-16gb-intel", nodeCount=2)
    first, item, *_ = told([], [advanced])
    assert first == "Cost: at least $260.00 a month (was $0.00, +$260.00 of what is known)"
    assert item == (
        "- database cluster `db`: at least $260.00 (2 x gd-4vcpu-16gb-intel, at the least price known of a node)"
    )


@pytest.mark.parametrize(
    ("disk", "nodes", "added"),
    [
        ("30720", 1, {}),
        ("40960", 1, {"storage of `db`": "$2.15 (10 GiB beyond the plan's)"}),
        ("40960", 2, {"storage of `db`": "unknown (10 GiB beyond the plan's)"}),
    ],
)
def test_a_disk_that_has_grown_by_itself_is_in_the_estimate(disk: str, nodes: int, added: dict[str, str]) -> None:
    """By what the cluster has, since the program asks for none; for more nodes no source says how it is counted."""
    cluster = replace(
        resource("DatabaseCluster", "db", engine="pg", size="db-s-1vcpu-2gb", nodeCount=nodes),
        outputs={"storageSizeMib": disk},
    )
    bill = cost.bill([cluster])
    assert {name: str(item) for name, item in bill.items() if name.startswith("storage")} == added
    unchanged = Preview(ended=True, has={"db": cluster}, had={"db": cluster})
    assert list(cost.lines(unchanged))[1:] == [f"- {name}: {item}" for name, item in added.items()]


def test_a_resized_cluster_keeps_what_its_disk_had_grown_by() -> None:
    """The API adds it to the new plan's disk, so the estimate of another plan does too."""
    cluster = replace(
        resource("DatabaseCluster", "db", engine="pg", size="db-s-2vcpu-4gb", nodeCount=1),
        outputs={"size": "db-s-1vcpu-2gb", "storageSizeMib": "40960"},
    )
    assert str(cost.bill([cluster])["storage of `db`"]) == "$2.15 (10 GiB beyond the plan's)"


def test_what_failover_would_cost_is_said_where_it_is_given_up() -> None:
    """Each time, whether something changes or not."""
    accepted = {"accepted": ["database.acceptNoFailover"]}
    preview = Preview(stack="prod", after=accepted, ended=True, has={"db": CLUSTER}, had={"db": CLUSTER})
    *_, last = cost.lines(preview)
    assert last == (
        "- no failover (`database.acceptNoFailover`); with a standby, in the edition advanced, at least $260.00"
    )


def test_spaces_are_one_subscription() -> None:
    """However many there are."""
    assert cost.total(cost.bill([SPACE, resource("SpacesBucket", "assets")])) == Decimal("5.00")


def test_an_address_costs_while_no_droplet_has_it() -> None:
    """An assignment makes it free, whichever comes first."""
    assignment = resource("ReservedIpAssignment", "assignment")
    assert cost.bill([assignment, ADDRESS]) == cost.bill([ADDRESS, assignment]) == {}


@pytest.mark.parametrize(
    "nobody_knows",
    [
        resource("Droplet", "x", size="m6-2vcpu-16gb", backups=True),
        resource("Droplet", "x"),
        resource("DatabaseCluster", "x", engine="pg", size="gd-2vcpu-8gb"),
        resource("DatabaseCluster", "x", engine="advanced_pg", size="db-s-1vcpu-2gb"),
        resource("DatabaseCluster", "x", engine="pg", size="db-s-1vcpu-2gb", storageSizeMib="61440"),
        resource("DatabaseCluster", "x", engine="pg", size="db-s-1vcpu-2gb", nodeCount="known later"),
        resource("Volume", "x", size=100),
        resource("Instance", "x", package="aws"),
    ],
    ids=lambda value: f"{value.kind} {value.inputs}",
)
def test_unknown_is_never_nothing(nobody_knows: Resource) -> None:
    """It is named, and the sum is then the least that it can be."""
    first, *items = told([DROPLET], [DROPLET, nobody_knows])
    assert first == "Cost: at least $12.00 a month (was $12.00, +$0.00 of what is known)"
    unknown = [line for line in items if "`x`: unknown" in line]
    assert unknown
    assert all(line.endswith(", new") for line in unknown)
    assert told([nobody_knows], [nobody_knows])[0] == "Cost: at least $0.00 a month, as before"
    assert told([nobody_knows], [])[0] == "Cost: about $0.00 a month (was at least $0.00, +$0.00 of what is known)"


def test_a_change_is_told_item_by_item() -> None:
    """What changes, what stays, what comes, what goes, and the sum."""
    larger = resource("Droplet", "web", size="s-2vcpu-4gb")
    *items, rest = told([DROPLET, SPACE, ADDRESS], [larger, SPACE, CLUSTER])
    assert items == [
        "Cost: about $89.90 a month (was $22.00, +$67.90)",
        "- Droplet `web`: $24.00 (s-2vcpu-4gb), was $12.00 (s-1vcpu-2gb)",
        "- Spaces: $5.00 (one subscription for all of the account's)",
        "- database cluster `db`: $60.90 (2 x db-s-1vcpu-2gb), new",
        "- Reserved IP `address`: gone, was $5.00 (unassigned)",
    ]
    assert rest.startswith("- not in it: taxes; ")
    assert rest.endswith("; list prices of 2026-07-13 to 2026-09-30 (docs/cost.md)")


def test_what_stays_is_one_line() -> None:
    """A release costs nothing."""
    assert told([DROPLET], [DROPLET]) == ["Cost: about $12.00 a month, as before"]


def test_nothing_is_said_of_nothing() -> None:
    """A stack that has and gets nothing."""
    assert told([], [resource("Vpc", "vpc")]) == []


SMALL, LARGE = {"size": "s-1vcpu-2gb"}, {"size": "s-2vcpu-4gb"}


@pytest.mark.parametrize(
    ("ops", "expected"),
    [
        (["create"], "about $24.00 a month (was $0.00, +$24.00)"),
        (["update"], "about $24.00 a month (was $12.00, +$12.00)"),
        (["create-replacement", "replace", "delete-replaced"], "about $24.00 a month (was $12.00, +$12.00)"),
        (["delete-replaced", "replace", "create-replacement"], "about $24.00 a month (was $12.00, +$12.00)"),
        (["delete"], "about $0.00 a month (was $12.00, -$12.00)"),
        (["refresh", "update"], "about $24.00 a month (was $12.00, +$12.00)"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_each_step_of_the_engine_counts_once(ops: list[str], expected: str) -> None:
    """What is replaced is not paid twice, in whichever order, and what is deleted no longer."""
    steps = [event(op, "Droplet", "web", "size", old=SMALL, new=LARGE) for op in ops]
    assert f"\nCost: {expected}\n" in report.markdown(events.read([*steps, NOTHING, END]))


def test_a_preview_without_its_end_has_no_estimate() -> None:
    """Nor has one that is refused."""
    failed = json.dumps({"sequence": 1, "diagnosticEvent": {"severity": "error", "message": "error: no"}})
    step = event("create", "Droplet", "web", new=SMALL)
    assert "Cost:" not in report.markdown(events.read([step, NOTHING]))
    assert "Cost:" not in report.markdown(events.read([step, failed, NOTHING, END]))


SIZES = st.sampled_from(["s-1vcpu-1gb", "s-8vcpu-16gb", "nobody-knows"])
RESOURCES: st.SearchStrategy[Resource] = st.one_of(
    st.builds(lambda name, size, backups: resource("Droplet", name, size=size, backups=backups),
              st.sampled_from("ab"), SIZES, st.booleans()),
    st.builds(lambda nodes: resource("DatabaseCluster", "db", engine="pg", size="db-s-1vcpu-2gb", nodeCount=nodes),
              st.integers(1, 3)),
    st.sampled_from([SPACE, ADDRESS, resource("Volume", "disk"), resource("Vpc", "vpc")]),
)  # fmt: skip
STACKS: st.SearchStrategy[dict[str, Any]] = st.lists(RESOURCES).map(lambda found: {one.name: one for one in found})


@given(STACKS, STACKS)
def test_the_difference_is_after_less_before(had: dict[str, Any], has: dict[str, Any]) -> None:
    """As the lines tell it."""
    before, after = cost.total(cost.bill(had.values())), cost.total(cost.bill(has.values()))
    first = next(iter(cost.lines(Preview(had=had, has=has))), "Cost: about $0.00 a month, as before")
    expected = f"{'-' if after < before else '+'}${abs(after - before)}"
    assert f", {expected}" in first or (after == before and first.endswith(", as before"))
    assert f" ${after} a month" in first


@given(STACKS, RESOURCES)
def test_more_never_costs_less(stack: dict[str, Any], more: Resource) -> None:
    """An assignment alone, which is not among these, makes an address free."""
    with_it = stack if more.name in stack else {**stack, more.name: more}
    assert cost.total(cost.bill(with_it.values())) >= cost.total(cost.bill(stack.values()))
