"""Sizing: what a plan provides, and whether the stack's clients and pools fit it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizing import editions, plans
from sizing.budget import (
    MACHINE_MIB,
    PLATFORM_RESERVE,
    POOL_CLIENTS,
    WORKER_MIB,
    ConnectionBudget,
    gunicorn_workers,
    pool_size,
)

DATABASE_PLANS = st.sampled_from(sorted(plans.DATABASE_PLANS))


@st.composite
def droplet_sizes(draw: st.DrawFn) -> str:
    """Sizes that DigitalOcean offers, of every family."""
    family, memory = draw(st.sampled_from([("c2", 2), ("g", 4), ("gd", 4), ("m", 8), ("so", 8), ("so1_5", 8)]))
    vcpus = draw(st.sampled_from([2, 4, 8, 16, 32]))
    suffix = draw(st.sampled_from(["", "-intel", "-amd"]))
    return f"{family}-{vcpus}vcpu-{vcpus * memory}gb{suffix}"


@st.composite
def budgets(draw: st.DrawFn) -> ConnectionBudget:
    """Budgets as settings can make them, most of which do not fit."""
    return ConnectionBudget(
        max_connections=plans.max_connections(draw(DATABASE_PLANS)),
        direct_connections=draw(st.integers(0, 100)),
        pool_size=draw(st.integers(1, 1000)),
        workers=draw(st.integers(1, 64)),
        threads=draw(st.integers(1, 64)),
    )


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ("db-s-1vcpu-1gb", 25),
        ("db-s-1vcpu-2gb", 50),
        ("db-s-2vcpu-4gb", 100),
        ("db-s-4vcpu-8gb", 200),
        ("db-intel-4vcpu-16gb", 400),
        ("gd-8vcpu-32gb", 800),
        ("so1_5-8vcpu-64gb", 1000),
        ("so1_5-32vcpu-256gb", 1000),
        ("gd-2vcpu-8gb-intel", 200),
        ("c-96-intel", 1000),
    ],
)
def test_max_connections_are_those_that_digitalocean_documents(plan: str, expected: int) -> None:
    """25 for each GiB, up to 1,000."""
    assert expected == plans.max_connections(plan)


@pytest.mark.parametrize(
    ("engine", "plan", "nodes", "beyond"),
    [
        ("pg", "db-s-2vcpu-4gb", 1, set()),
        ("pg", "db-s-4vcpu-8gb", 1, {"size"}),
        ("pg", "db-s-1vcpu-2gb", 2, {"nodes"}),
        ("pg", "db-amd-2vcpu-8gb", 3, {"size", "nodes"}),
        ("advanced_pg", "c-96-intel", 3, set()),
    ],
)
def test_what_a_new_cluster_may_have(engine: str, plan: str, nodes: int, beyond: set[str]) -> None:
    """Standard: 4 GiB and one node; Advanced: whatever its plans are."""
    found = dict(editions.beyond_a_new_cluster(engine, plans.database_memory(plan), nodes))
    assert set(found) == beyond
    assert all("since 30 November 2026" in rule for rule in found.values())


@pytest.mark.parametrize(("direct", "expected"), [(2, 95), (0, 97)])
def test_pool_of_the_4_gib_plan(direct: int, expected: int) -> None:
    """Without direct connections it is the 97 of DigitalOcean's tutorial."""
    assert expected == pool_size("db-s-2vcpu-4gb", direct)


@pytest.mark.parametrize("plan", ["db-s-2vcpu-5gb", "s-1vcpu-1gb", "db-s-1vcpu-1gb ", "", "db-mysql-1vcpu-1gb"])
def test_an_unknown_database_plan_is_refused(plan: str) -> None:
    """Better here than minutes later by the API."""
    with pytest.raises(plans.UnknownPlanError):
        plans.database_memory(plan)


@pytest.mark.parametrize(
    ("size", "vcpus", "memory"),
    [
        ("s-1vcpu-512mb-10gb", 1, 512),
        ("s-1vcpu-1gb", 1, 1024),
        ("s-1vcpu-1gb-35gb-intel", 1, 1024),
        ("s-2vcpu-4gb-120gb-intel", 2, 4096),
        ("s-8vcpu-16gb-amd", 8, 16384),
        ("c-4", 4, 8192),
        ("c-48-intel", 48, 98304),
        ("c2-2vcpu-4gb", 2, 4096),
        ("so1_5-2vcpu-16gb", 2, 16384),
    ],
)
def test_droplet_plans_are_read_from_the_size(size: str, vcpus: int, memory: int) -> None:
    """The memory is not the disk that some names end in."""
    assert plans.DropletPlan(vcpus=vcpus, memory_mib=memory) == plans.droplet_plan(size)


@pytest.mark.parametrize(
    "size", ["s-1vcpu-9gb", "1gb", "g-2", "x-2vcpu-4gb", "s-0vcpu-1gb", "db-s-1vcpu-1gb", "c-4-gb"]
)
def test_an_unknown_droplet_size_is_refused(size: str) -> None:
    """A size that does not exist, and the ones that DigitalOcean retired."""
    with pytest.raises(plans.UnknownPlanError):
        plans.droplet_plan(size)


@pytest.mark.parametrize(
    ("size", "expected"),
    [("s-1vcpu-512mb-10gb", 1), ("s-1vcpu-1gb", 2), ("s-2vcpu-2gb", 3), ("s-4vcpu-8gb", 5), ("g-8vcpu-32gb", 9)],
)
def test_gunicorn_workers_of_common_sizes(size: str, expected: int) -> None:
    """One more than the vCPUs, at least two, where the memory is there for it."""
    assert expected == gunicorn_workers(plans.droplet_plan(size))


@given(droplet_sizes())
def test_workers_fit_the_memory_or_are_one(size: str) -> None:
    """No size makes Gunicorn promise memory that the Droplet lacks."""
    plan = plans.droplet_plan(size)
    workers = gunicorn_workers(plan)
    assert workers >= 1
    assert workers == 1 or workers * WORKER_MIB + MACHINE_MIB <= plan.memory_mib


@given(DATABASE_PLANS, st.integers(0, 10))
def test_an_automatic_pool_and_the_reserve_are_exactly_the_plan(plan: str, direct: int) -> None:
    """Nothing is promised twice, and nothing is left over."""
    pool = pool_size(plan, direct)
    assert plans.max_connections(plan) == pool + direct + PLATFORM_RESERVE
    assert pool >= 1


@given(DATABASE_PLANS, DATABASE_PLANS, st.integers(0, 10))
def test_a_larger_plan_never_has_a_smaller_pool(one: str, other: str, direct: int) -> None:
    """Scaling up can't shrink what the app gets."""
    smaller, larger = sorted((one, other), key=plans.database_memory)
    assert pool_size(smaller, direct) <= pool_size(larger, direct)


@given(budgets())
def test_a_budget_without_problems_fits_on_both_sides(budget: ConnectionBudget) -> None:
    """Pool and reserve within the plan, clients within what PgBouncer accepts: no problem is said, and only then."""
    fits = (
        budget.pool_size + budget.direct_connections + PLATFORM_RESERVE <= budget.max_connections
        and 2 * budget.workers * budget.threads <= POOL_CLIENTS
    )
    assert fits == (budget.problems() == [])


@given(budgets())
def test_the_pool_can_be_the_limit_once_there_are_more_threads_than_backends(budget: ConnectionBudget) -> None:
    """With a Droplet less each thread finds a backend, whatever all of them do at once."""
    threads = budget.workers * budget.threads
    assert (budget.limited_from - 1) * threads <= budget.pool_size < budget.limited_from * threads


@pytest.mark.parametrize(
    ("pool", "workers", "said"),
    [
        (20, 2, "the pool can be the limit from 3 Droplets on: 24 threads, 20 backends"),
        (16, 2, "the pool can be the limit from 3 Droplets on: 24 threads, 16 backends"),
        (15, 2, "the pool can be the limit from 2 Droplets on: 16 threads, 15 backends"),
        (4, 2, "the pool can be the limit from 1 Droplet on: 8 threads, 4 backends"),
    ],
)
def test_a_budget_says_from_when_on_the_pool_can_be_the_limit(pool: int, workers: int, said: str) -> None:
    """As benchmarks/results/connections.md has measured it: statements wait when threads are more than backends."""
    budget = ConnectionBudget(max_connections=25, direct_connections=2, pool_size=pool, workers=workers, threads=4)
    assert budget.export()["limit"] == said


def test_a_problem_shows_the_whole_sum() -> None:
    """The reader can redo the calculation from the message alone."""
    budget = ConnectionBudget(max_connections=25, direct_connections=2, pool_size=21, workers=20, threads=26)
    assert budget.problems() == [
        "pool 21 + direct 2 + DigitalOcean's reserve 3 = 26 of 25 backend connections",
        "20 workers x 26 threads x (1 + 1 surge) Droplets = 1040 of 1000 clients",
    ]
