"""The one change behind Pulumi's back that only a real database shows: docs/drift.md, "What is not found"."""

import pytest

from sandbox.machines import machine
from sandbox.parts.databases import clusters
from sandbox.world.world import INTERNET_SIDE
from tests.internet_side import python
from tests.pulumi_stack import PulumiStack
from tests.worlds import Deployment

pytestmark = pytest.mark.full


def sql(deployed: Deployment, statement: str) -> str:
    """Run SQL as the operator of the cluster does, past every role."""
    [name] = [name for name in machine.names(deployed.world) if name.startswith("c")]
    psql = ["psql", "-At", "-p", str(clusters.PORT), "-U", "postgres", "-d", "app", "-c", statement]
    as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    return machine.load_machine(deployed.world, name).run([*as_postgres, *psql]).stdout.strip()


@pytest.mark.prove
def test_a_changed_role_is_not_found_and_has_a_way_out(deployed: Deployment) -> None:
    """`refresh` can't see it; the grants run again once this machine is a trusted source, and it can be taken out."""
    stack = PulumiStack(deployed.world)
    setting = "SELECT array_to_string(setconfig, ',') FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = setrole"
    before = sql(deployed, f"{setting} WHERE rolname = 'app'")
    assert "statement_timeout=30s" in before
    sql(deployed, "ALTER ROLE app IN DATABASE app SET statement_timeout = '1h'; GRANT CREATE ON SCHEMA public TO app")
    assert "statement_timeout=1h" in sql(deployed, f"{setting} WHERE rolname = 'app'")
    assert stack.steps("refresh") == []
    stack.settled()

    trusted = {"database.trustedSources": [INTERNET_SIDE]}
    assert [step.what for step in stack.up(settings=trusted)] == ["update trusted-sources"]
    stack.up("--replace", "**-grants", settings=trusted)
    assert sql(deployed, f"{setting} WHERE rolname = 'app'") == before
    assert sql(deployed, "SELECT has_schema_privilege('app', 'public', 'CREATE')") == "f"
    assert [step.what for step in stack.up()] == ["update trusted-sources"]


@pytest.mark.prove
def test_a_password_that_was_reset_reaches_the_app(deployed: Deployment) -> None:
    """As docs/runbook.md has it: reset by the API, then `up --refresh`; the site works with the new one."""
    stack = PulumiStack(deployed.world)
    trusted = {"database.trustedSources": [INTERNET_SIDE]}
    stack.up(settings=trusted)
    old = stack.resources()["app"]["outputs"]["password"]
    cluster = stack.outputs()["database_id"]
    python(deployed.world, 'answer = api("POST", given["path"])', path=f"/v2/databases/{cluster}/users/app/reset_auth")
    steps = {step.what for step in stack.up("--refresh", settings=trusted)}
    assert steps >= {"update grants", "update environment", "update rollout"}, steps
    assert stack.resources()["app"]["outputs"]["password"] != old
    assert deployed.exec("curl", "-sS", "--fail", deployed.url).stdout
    stack.up()
