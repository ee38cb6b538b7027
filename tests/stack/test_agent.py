"""The release agent as a service of the Droplet: what it costs while nothing happens, and what if it can't run."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.machines import machine
from sandbox.machines.machine import Machine
from tests.internet_side import python
from tests.pulumi_stack import PulumiStack
from tests.worlds import Deployment

pytestmark = pytest.mark.full

CONFIG = "/etc/release-agent/config.json"
PACKAGES = "/usr/local/lib/web/agents"
IDLE_SHARE = 0.001  # of a core


@pytest.fixture
def web(deployed: Deployment) -> Machine:
    """The Droplet that serves the site."""
    # Asked now: an earlier test may have replaced it.
    [identifier] = PulumiStack(deployed.world).outputs()["droplet_ids"]
    return machine.load_machine(deployed.world, f"d{identifier}")


def shown(web: Machine, name: str) -> str:
    """A property of the agent's unit."""
    return web.run(["systemctl", "show", "--value", f"--property={name}", "release-agent.service"]).stdout.strip()


def wait_for(what: Callable[[], Any], seconds: float) -> Any:  # noqa: ANN401 - whatever is waited for
    """Poll until there is something, and return it; each look starts a program, so less often by and by."""
    end = time.monotonic() + seconds
    pause = 0.3
    while not (found := what()):
        assert time.monotonic() < end, f"{what} has seen nothing for {seconds} s"
        time.sleep(pause)
        pause = min(pause * 1.5, 2)
    return found


def report(deployed: Deployment, web: Machine) -> dict[str, Any]:
    """What the runner reads of this Droplet."""
    bucket, key = deployed.outputs["buckets"]["state"], f"nodes/{web.name.removeprefix('d')}.json"  # type: ignore[index]
    code = "answer = json.loads(s3().get_object(Bucket=given['bucket'], Key=given['key'])['Body'].read())"
    document: dict[str, Any] = python(deployed.world, code, bucket=bucket, key=key)
    return document


def wait_for_error(deployed: Deployment, web: Machine, words: str) -> None:
    """Within a minute the runner can read why the agent does not start."""

    def said() -> bool:
        document = report(deployed, web)
        return document["phase"] == "bootstrap" and words in document["error"]

    wait_for(said, 60)


def wait_for_answer(deployed: Deployment, web: Machine) -> None:
    """Nobody starts it by hand: it comes back by itself, and says so."""
    wait_for(lambda: report(deployed, web)["phase"] == "done", 60)
    assert shown(web, "ActiveState") == "active"


def test_an_agent_that_has_nothing_to_do_costs_nothing(deployed: Deployment, web: Machine) -> None:
    """At most a thousandth of a core over some looks, measured on the Droplet while the site is served."""
    # Where there are control groups of both versions, those of version 2 are in a folder of their own.
    group = shown(web, "ControlGroup")
    folders = f"/sys/fs/cgroup{group} /sys/fs/cgroup/unified{group}"

    def lines(name: str) -> list[str]:
        """A file of the service's control group: what else the machine does is not in it."""
        command = f'for folder in {folders}; do if [ -e "$folder/{name}" ]; then cat "$folder/{name}"; fi; done'
        return web.run(["sh", "-c", command]).stdout.splitlines()

    def used() -> float:
        """CPU seconds of the service, its children included."""
        [line] = [line for line in lines("cpu.stat") if line.startswith("usage_usec ")]
        return int(line.split()[1]) / 1e6

    wait_for(lambda: len(lines("cgroup.procs")) == 1, 120)  # after a rollout it compiles the app, once
    told = report(deployed, web)["at"]
    web.run(["systemctl", "restart", "release-agent.service"])
    wait_for(lambda: report(deployed, web)["at"] != told, 60)  # by its first look, the one that costs something
    start = shown(web, "InvocationID")
    before, started = used(), time.monotonic()
    time.sleep(15)  # what is measured is time that passes
    share = (used() - before) / (time.monotonic() - started)
    assert shown(web, "InvocationID") == start
    print(f"the idle agent uses {share:.3%} of a core")  # noqa: T201 - a figure for whoever reads the log
    assert 0 < share <= IDLE_SHARE


def test_an_agent_that_hangs_is_started_anew(web: Machine) -> None:
    """By systemd's watchdog: nobody has to look."""
    drop_in = "/run/systemd/system/release-agent.service.d/soon.conf"
    web.run(
        ["sh", "-c", f"mkdir -p $(dirname {drop_in}); printf '[Service]\\nWatchdogSec=4\\nRestartSec=1\\n' > {drop_in}"]
    )
    web.run(["systemctl", "daemon-reload"])
    web.run(["systemctl", "restart", "release-agent.service"])
    try:
        before = shown(web, "MainPID")
        web.run(["kill", "-STOP", before])
        after = wait_for(lambda: (now := shown(web, "MainPID")) not in {"0", before} and now, 60)
        assert after != before
        assert "watchdog" in web.journal("--unit=release-agent.service", "--lines=20")
    finally:
        web.run(["rm", drop_in])
        web.run(["systemctl", "daemon-reload"])
        web.run(["systemctl", "restart", "release-agent.service"])


@pytest.mark.prove
def test_a_droplet_that_cannot_have_its_agent_says_why_and_recovers(deployed: Deployment, web: Machine) -> None:
    """The object is gone (the next `pulumi up` brings it back), or is another one, or the agent can't start."""
    config = web.run(["cat", CONFIG]).stdout
    package, bucket = json.loads(config)["package"], deployed.outputs["buckets"]["releases"]  # type: ignore[index]
    key = f"agents/{package}.tar"
    forget = ["sh", "-c", f"rm -r {PACKAGES}/{package}; systemctl restart --no-block release-agent.service"]

    python(
        deployed.world,
        "answer = str(s3().delete_object(Bucket=given['bucket'], Key=given['key']))",
        bucket=bucket,
        key=key,
    )
    web.run(forget)
    wait_for_error(deployed, web, f"{key}: must be there, is not")
    deployed.stack("up", "--yes", "--skip-preview")
    wait_for_answer(deployed, web)

    code = """
right = s3().get_object(Bucket=given["bucket"], Key=given["key"])["Body"].read()
s3().put_object(Bucket=given["bucket"], Key=given["key"] + ".kept", Body=right)
s3().put_object(Bucket=given["bucket"], Key=given["key"], Body=right + b"x")
answer = len(right)
"""
    python(deployed.world, code, bucket=bucket, key=key)
    web.run(forget)
    wait_for_error(deployed, web, f"must have SHA-256 {package}, got ")
    code = """
right = s3().get_object(Bucket=given["bucket"], Key=given["key"] + ".kept")["Body"].read()
s3().put_object(Bucket=given["bucket"], Key=given["key"], Body=right)
s3().delete_object(Bucket=given["bucket"], Key=given["key"] + ".kept")
answer = len(right)
"""
    python(deployed.world, code, bucket=bucket, key=key)
    wait_for_answer(deployed, web)

    web.run(["sh", "-c", f"cat > {CONFIG}"], input=json.dumps(json.loads(config) | {"surprise": 1}))
    web.run(["systemctl", "restart", "--no-block", "release-agent.service"])
    wait_for_error(deployed, web, "unexpected keyword argument 'surprise'")
    web.run(["sh", "-c", f"cat > {CONFIG}"], input=config)
    wait_for_answer(deployed, web)


def test_a_machine_from_a_snapshot_reports_for_itself(deployed: Deployment, web: Machine) -> None:
    """Its disk has another Droplet's memory, which has told the runner everything; what serves is left alone."""
    memory = "/var/lib/release-agent/state.json"
    of_another = json.loads(web.run(["cat", memory]).stdout) | {"droplet": "1", "reported": True}
    gunicorn = ["systemctl", "show", "--value", "--property=InvocationID", "gunicorn.service"]
    before = web.run(gunicorn).stdout
    code = "answer = str(s3().put_object(Bucket=given['bucket'], Key=given['key'], Body=b'{\"phase\": null}'))"
    bucket = deployed.outputs["buckets"]["state"]  # type: ignore[index]
    web.run(["systemctl", "stop", "release-agent.service"])
    web.run(["sh", "-c", f"cat > {memory}"], input=json.dumps(of_another))
    python(deployed.world, code, bucket=bucket, key=f"nodes/{web.name.removeprefix('d')}.json")
    web.run(["systemctl", "start", "release-agent.service"])
    wait_for_answer(deployed, web)
    assert report(deployed, web)["healthy"] is True
    assert web.run(gunicorn).stdout == before
