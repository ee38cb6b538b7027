"""No secret in what Pulumi keeps, shows and logs, nor in a process list while it works."""

import json
from collections.abc import Iterator
from secrets import token_urlsafe

import pytest

from operations.secrets_check import watched_processes
from tests.intruders.hunt import Secrets, found_in
from tests.pulumi_stack import PulumiStack
from tests.worlds import Deployment

pytestmark = pytest.mark.full

RUNNERS = {"API token", "account's Spaces key"}
CHANGED = {"app.env": {"INTRUDERS_WERE_HERE": "once"}}


def test_the_state_shows_no_secret(deployed: Deployment, secrets: Secrets) -> None:
    """Exported, as outputs, on the disk of the backend, and as it was made; the control shows them on demand."""
    shown = {"pulumi up": deployed.log} | {
        command: deployed.stack(*command.split()).stdout
        for command in ("stack", "stack export", "stack output", "stack output --json", "stack history")
    }
    kept = [path for path in (deployed.world.pulumi / "state").rglob("*") if path.is_file()]
    shown |= {str(path): path.read_text(errors="replace") for path in kept}
    assert any("polls-local-migrator" in shown[str(path)] for path in kept), kept
    assert "superuser_password: [secret]" in deployed.log
    assert {name: found for name, text in shown.items() if (found := found_in(text, secrets))} == {}
    plain = deployed.stack("stack", "export", "--show-secrets").stdout
    assert found_in(plain, secrets) == secrets.keys() - RUNNERS


def served(deployed: Deployment) -> str:
    """Id of the release that the public URL serves."""
    return str(json.loads(deployed.exec("curl", "--silent", f"{deployed.url}/healthz").stdout)["release"])


@pytest.fixture
def stack(deployed: Deployment) -> Iterator[PulumiStack]:
    """The deployed stack, which gets its own settings back."""
    stack = PulumiStack(deployed.world)
    before = served(deployed)
    yield stack
    stack.up()
    assert served(deployed) == before


def test_a_release_shows_no_secret_while_it_is_made(deployed: Deployment, stack: PulumiStack, secrets: Secrets) -> None:
    """Other settings of the app are another release; neither plan nor progress nor any command line has one."""
    plan, document = (stack.run("preview", option, settings=CHANGED).stdout for option in ("--diff", "--json"))
    before = served(deployed)
    with watched_processes() as seen:
        control = token_urlsafe(24)
        deployed.exec("sh", "-c", "sleep 1", f"password={control}")
        done = stack.run("up", "--yes", "--skip-preview", "--diff", settings=CHANGED)
    assert served(deployed) not in {before, ""}
    assert "[secret]" in plan
    assert "INTRUDERS_WERE_HERE" not in plan  # the whole environment is one secret
    assert found_in(plan + document + done.stdout + done.stderr, secrets) == set()
    lines = "\n".join(seen)
    # Of the runner and of the Droplet: a release step runs there.
    for program in ("pulumi-language-python", "/usr/local/lib/web/agents/", "app_steps.py", "nginx: worker"):
        assert program in lines
    assert found_in(lines, {**secrets, "control": control}) == {"control"}
