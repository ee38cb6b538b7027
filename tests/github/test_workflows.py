"""What the workflows may do, and that the linters would say so if they did more."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.commands import ROOT, run
from tests.github.workflows import FOLDER, NAMES, STACKS, Job, job, jobs, workflow

PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # (v\d+\.\d+\.\d+)")
# Beside each pin: the version, and two independent public files that have this commit for it.
SOURCES = re.compile(r"# (v\d+\.\d+\.\d+): (([\w-]+)/[\w.-]+) \S+, (([\w-]+)/[\w.-]+) \S+")
JOBS = list(jobs())


def test_actions_are_pinned_and_their_pins_have_sources() -> None:
    """By the whole commit; a version in a comment, which two independent public sources give to this commit."""
    pins = set()
    for path in FOLDER.glob("*.yml"):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if (used := line.strip().removeprefix("- ")).startswith("uses: ") and "uses: ./" not in used:
                place = f"{path.name}:{number + 1}"
                pin = PINNED.fullmatch(used.removeprefix("uses: "))
                assert pin, f"{place}: not pinned"
                sources = SOURCES.fullmatch(lines[number - 1].strip())
                assert sources, f"{place}: no sources above it"
                assert sources[1] == pin[1], f"{place}: sources for another version"
                assert sources[3] != sources[5], f"{place}: both sources are of one owner"
                pins.add(used)
    assert len({pin.partition("@")[0] for pin in pins}) == len(pins) == 3


def test_there_is_an_environment_for_every_stack() -> None:
    """In every workflow, for all settings but those of the sandbox, in one order."""
    settings = {path.name.split(".")[1] for path in ROOT.glob("Pulumi.*.yaml")} - {"local"}
    assert set(STACKS) == settings
    matrices = [job.body["strategy"]["matrix"]["stack"] for job in JOBS if "strategy" in job.body]
    assert matrices == [STACKS] * 3
    assert [job.name for job in jobs("deploy")] == STACKS


def test_a_commit_gets_to_an_environment_after_the_one_before() -> None:
    """One deploy at a time in each, which nothing but its own failure ends."""
    for number, deploy in enumerate(jobs("deploy")):
        assert deploy.body.get("needs") == (STACKS[number - 1] if number else None)
        assert deploy.body["with"] == {"stack": deploy.name}
        assert deploy.body["concurrency"] == {"group": f"deploy-{deploy.name}", "cancel-in-progress": False}
    assert job("deploy-stack", "up").body["environment"] == "${{ inputs.stack }}"
    assert workflow("deploy")[True] == {"push": {"branches": ["main"]}}


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_may_do_nothing_by_itself(name: str) -> None:
    """Its jobs ask for what they need; nothing runs with secrets because a stranger did something."""
    read = workflow(name)
    assert read["permissions"] == {}
    triggers = read[True] if isinstance(read[True], dict) else {read[True]: None}
    assert set(triggers) <= {"push", "pull_request", "workflow_call", "schedule", "workflow_dispatch"}


@pytest.mark.parametrize("job", [job for job in JOBS if job.steps], ids=str)
def test_jobs_end_and_keep_no_token_on_disk(job: Job) -> None:
    """A limit of time, and a checkout that leaves nothing for what runs later."""
    assert 0 < job.body["timeout-minutes"] <= 90
    checkouts = [step for step in job.steps if step.get("uses", "").startswith("actions/checkout@")]
    assert [step["with"]["persist-credentials"] for step in checkouts] == [False]


@pytest.mark.parametrize("job", [job for job in JOBS if job.steps], ids=str)
def test_who_can_write_has_no_secrets_and_runs_nothing_of_a_pull_request(job: Job) -> None:
    """And the other way round: who has secrets can only read."""
    text = yaml.safe_dump(dict(job.body))
    writes = [name for name, level in job.body["permissions"].items() if level == "write"]
    if not writes:
        assert "github.token" not in text
        return
    assert "secrets." not in text
    assert "environment" not in job.body
    assert "scripts/setup" not in text
    checkout, download, write = job.steps
    assert checkout["with"].get("ref", "main") in {"main", "${{ github.event.pull_request.base.sha }}"}
    assert (job.workflow == "drift") == ("ref" not in checkout["with"])
    assert download["with"]["path"].startswith("${{ runner.temp }}/")
    assert set(re.findall(r"(\S+) operations/\S+", write["run"])) == {"-I"}


@pytest.mark.parametrize("job", [job for job in JOBS if "secrets." in str(job.body)], ids=str)
def test_secrets_are_for_one_step_of_a_job_in_an_environment(job: Job) -> None:
    """What is downloaded and built before it, or uploaded after it, does not get them."""
    assert job.body["environment"]
    assert len([step for step in job.steps if "secrets." in str(step)]) == 1
    assert "secrets." not in str({name: part for name, part in job.body.items() if name != "steps"})


def test_a_fork_and_dependabot_get_the_sandbox() -> None:
    """Each pull request gets one of both, and nothing but the token that reads reaches a stranger's code."""
    trusted, stranger = job("preview", "preview"), job("preview", "sandbox")
    one, other = trusted.body["if"].split(" && "), stranger.body["if"].split(" || ")
    assert one[0].replace("==", "!=") == other[0]
    assert one[1].replace("!=", "==") == other[1]
    assert stranger.body["permissions"] == {"contents": "read"}
    assert "secrets" not in str(stranger.body)


def test_the_workflows_are_clean() -> None:
    """For actionlint, and for zizmor at its most pedantic."""
    done = run("scripts/workflows", home=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")


CHECKOUT = re.compile(r"actions/checkout@[0-9a-f]{40} # v[\d.]+")
TITLE = "      - run: echo ${{ github.event.pull_request.title }}\n"


@pytest.mark.parametrize(
    ("name", "pattern", "replacement", "complaint"),
    [
        ("check", CHECKOUT.pattern, "actions/checkout@v7", "unpinned-uses"),
        ("check", r"      - run: sudo make test\n", TITLE, "potentially untrusted"),  # actionlint
        ("check", r"      - run: sudo make test\n", TITLE, "template-injection"),  # zizmor
        ("preview", r"on:\n  pull_request:", "on:\n  pull_request_target:", "dangerous-triggers"),
        ("preview", r"permissions: \{\}", "permissions: write-all", "excessive-permissions"),
        ("check", r"          persist-credentials: false", "          fetch-depth: 1", "artipacked"),
        ("deploy-stack", r"inputs\.stack", "inputs.stak", 'property "stak" is not defined'),
        ("drift", r"needs: drift", "needs: drifted", 'needs job "drifted" which does not exist'),
        ("preview-stack", r"contents: read", "contents: reed", '"reed" is invalid'),
    ],
)
def test_the_linters_see_what_is_wrong(
    tmp_path: Path, name: str, pattern: str, replacement: str, complaint: str
) -> None:
    """Each of these, in a copy."""
    text, changed = re.subn(pattern, lambda _: replacement, (FOLDER / f"{name}.yml").read_text())
    assert changed
    copy = tmp_path / ".github" / "workflows" / f"{name}.yml"
    copy.parent.mkdir(parents=True)
    copy.write_text(text)
    command = [str(ROOT / "scripts/workflows"), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert complaint in done.stdout + done.stderr
