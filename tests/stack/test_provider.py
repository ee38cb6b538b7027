"""The program's own provider on the real engine: progress, interruption, state, and where it is started from."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest

from sandbox.world.world import World
from tests.api_client import Api, until
from tests.commands import ROOT, environment, run
from tests.processes import plugins, session
from tests.pulumi_stack import PulumiStack

UNFINISHED = re.compile(r"attempt \d+, Droplet ")  # what a rollout says while it waits


@pytest.fixture(scope="module")
def stack(api_world: World) -> Iterator[PulumiStack]:
    """The stack `local`, which the first test deploys; what is left is taken down."""
    stack = PulumiStack(api_world)
    yield stack
    stack.forget()


@pytest.fixture(scope="module")
def deployed(stack: PulumiStack) -> PulumiStack:
    """The same, whoever deploys it."""
    stack.up()
    return stack


def until_it_rolls_out(update: subprocess.Popen[str]) -> None:
    """Read what an update prints until it waits for a Droplet."""
    assert update.stdout is not None
    said = []
    for line in update.stdout:
        said.append(line)
        if UNFINISHED.search(line):
            return
    pytest.fail("".join(said))


def attempt(stack: PulumiStack) -> tuple[object, object]:
    """Number of the rollout's attempt, and whether it is known to be unfinished."""
    rollout = stack.resources()["rollout"]["outputs"]
    return rollout["attempt"], rollout.get("unfinished")


def test_ctrl_c_keeps_the_rollout_and_the_next_update_goes_on(stack: PulumiStack) -> None:
    """The update ends at once, with one sentence; the next one joins the same attempt, and its plugins have ended."""
    update = stack.start("up", "--yes", "--skip-preview")
    until_it_rolls_out(update)
    update.send_signal(signal.SIGINT)
    said = update.communicate(timeout=20)[0]
    assert update.returncode != 0
    assert "interrupted while waiting; run `pulumi up` again, it goes on from there" in said
    assert "Traceback" not in said
    assert plugins(update.pid) == []
    assert attempt(stack) == (1, True)

    steps = [step.what for step in stack.up()]
    assert steps[0] == "update rollout"
    assert attempt(stack) == (1, None)
    stack.settled()


def test_a_space_that_was_emptied_is_filled_by_the_next_update(deployed: PulumiStack, api: Api) -> None:
    """With the agent's package, without a refresh: no new Droplet could start its agent. Nothing else changes.

    A preview asks Spaces for nothing, so it does not say so.
    """
    stack = deployed
    package = stack.resources()["agent"]["outputs"]
    key = {"Bucket": package["bucket"], "Key": package["key"]}
    packed = api.s3().get_object(**key)["Body"].read()
    assert hashlib.sha256(packed).hexdigest() == package["sha256"]
    api.s3().delete_object(**key)
    stack.run("preview", "--expect-no-changes")
    assert [step.what for step in stack.up()] == ["update agent"]
    assert api.s3().get_object(**key)["Body"].read() == packed
    stack.settled()


def test_the_state_has_neither_code_nor_settings_nor_secrets_of_ours(deployed: PulumiStack) -> None:
    """The provider resource has no inputs at all; what is generated is encrypted."""
    stack = deployed
    state = stack.run("stack", "export").stdout
    assert "__provider" not in state
    resources = json.loads(state)["deployment"]["resources"]
    [provider] = [found for found in resources if found["type"] == "pulumi:providers:django-do-runner"]
    assert (provider.get("inputs"), provider.get("outputs")) == (None, None)
    ours = [found for found in resources if found["type"].startswith("django-do-runner:")]
    assert len(ours) == 12
    secret = next(found for found in ours if found["type"].endswith(":Secret"))
    assert "ciphertext" in secret["outputs"]["value"]


def test_a_state_of_dynamic_providers_is_refused_with_what_to_do(stack: PulumiStack) -> None:
    """Before anything is asked or changed, and in one line."""
    stack.run("stack")
    [kept] = (stack.world.pulumi / "state" / ".pulumi" / "stacks").glob("*/local.json")
    before = kept.read_text()
    try:
        kept.write_text(before + '\n{"type": "pulumi-python:dynamic/django-do:Rollout"}')
        for command in ("preview", "up", "refresh", "destroy"):
            done = stack.run(command, check=False)
            assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
            assert "`make down`" in done.stderr
    finally:
        kept.write_text(before)


def test_a_killed_engine_takes_its_plugins_with_it(deployed: PulumiStack) -> None:
    """Also in the middle of a wait; desired.json stays, and the next update takes the same attempt over."""
    stack = deployed
    settings = {"app.env": {"GREETING": "hello"}}
    update = stack.start("up", "--yes", "--skip-preview", settings=settings)
    until_it_rolls_out(update)
    assert len(plugins(update.pid)) == 2
    [engine] = [pid for pid, line in session(update.pid).items() if line.startswith("pulumi up")]
    os.kill(engine, signal.SIGKILL)
    until(lambda: plugins(update.pid), lambda left: left == [], 10)
    update.communicate(timeout=30)
    stack.run("recover")
    stack.up(settings=settings)
    assert attempt(stack) == (2, None)  # the first one of the second release


def test_two_clones_use_each_their_own(stack: PulumiStack, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A second clone, whose plugin says so, beside this one; nothing is installed that both would share."""
    clone = tmp_path_factory.mktemp("clone")
    for name in ("Pulumi.yaml", "protocol", "provider", "sizing"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, clone / name)
    (clone / "__main__.py").write_text(
        "from provider.resources import Secret\nimport pulumi\npulumi.export('value', Secret('s', length=20).value)\n"
    )
    mark = clone / "started"
    launcher = clone / "provider" / "pulumi-resource-django-do-runner"
    launcher.write_text(launcher.read_text().replace("PYTHONPATH=", f"touch {mark}\nPYTHONPATH=", 1))
    yaml = (clone / "Pulumi.yaml").read_text()
    (clone / "Pulumi.yaml").write_text(
        yaml.replace("name: django-do\n", "name: clone\n").replace("virtualenv: .venv", f"virtualenv: {ROOT / '.venv'}")
    )
    pulumi = ("sandbox", "exec", "env", f"UV_PROJECT_ENVIRONMENT={ROOT / '.venv'}", "pulumi", "--cwd", str(clone))
    run(*pulumi, "stack", "init", "clone", home=stack.world.home)
    try:
        run("scripts/stack", "local", "preview", home=stack.world.home)
        assert not mark.exists()
        run(*pulumi, "up", "--yes", "--skip-preview", home=stack.world.home)
        assert mark.exists()
    finally:
        run(*pulumi, "destroy", "--yes", "--skip-preview", home=stack.world.home)
        run(*pulumi, "stack", "rm", "--yes", home=stack.world.home)


def test_it_is_found_from_a_subfolder_and_without_the_program(stack: PulumiStack) -> None:
    """`preview` below the folder of Pulumi.yaml; `refresh` and `destroy` where only the project file is."""
    stack.up()
    project = stack.world.pulumi / "project"
    settings = ("--config-file", str(stack.world.pulumi / "Pulumi.local.yaml"))
    command = ["sandbox", "exec", "pulumi", "preview", "--stack", "local", "--expect-no-changes", *settings]
    done = subprocess.run(
        command, cwd=ROOT / "docs", env=environment(stack.world.home), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for command in (["refresh", "--expect-no-changes"], ["destroy"]):
        run("sandbox", "exec", "pulumi", "--cwd", str(project), *command, "--stack", "local", "--yes", "--skip-preview",
            home=stack.world.home)  # fmt: skip
    assert not (project / "__main__.py").exists()
