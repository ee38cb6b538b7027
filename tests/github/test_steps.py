"""The workflows' steps, run one after the other: the real engine at depth "api", and a stand-in of GitHub's API."""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.model.store import Store
from sandbox.world import world as worlds
from sandbox.world.world import World
from tests.commands import ROOT, run
from tests.github.github_api import REPOSITORY, TOKEN, State, serving
from tests.github.workflows import STACKS, Job, job, run_step

PAGE = ROOT / "docs" / "pull-requests.md"


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A tree that was checked out, a world in DigitalOcean's place, and a repository on GitHub."""

    tree: Path
    world: World
    state: State
    temporary: Path

    @property
    def environment(self) -> dict[str, str | None]:
        """What the expressions of the steps become."""
        cloud = dict.fromkeys(["PULUMI_ACCESS_TOKEN", "PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE"])
        account = dict.fromkeys(["DIGITALOCEAN_TOKEN", "SPACES_ACCESS_KEY_ID", "SPACES_SECRET_ACCESS_KEY"])
        bucket = dict.fromkeys(["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
        github = {
            "GITHUB_API_URL": self.state.base,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_TOKEN": TOKEN,
            "COMMIT": "0123456789abcdef0123456789abcdef01234567",
            "PULL_REQUEST": "7",
            "RUN": "https://github.example/someone/site/actions/runs/1",
            "RUNNER_TEMP": str(self.temporary),
        }
        return {"STACK": "dev", "SANDBOX_HOME": str(self.world.home)} | cloud | account | bucket | github

    def inside(self, job: Job, step: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a step that asks Pulumi: the world's own token, keys and backend are in the place of the secrets."""
        return run_step(job.step(step), self.tree, self.environment, "sandbox", "exec", *words)

    def outside(self, job: Job, step: str) -> str:
        """Run a step that writes to GitHub, with the artifacts of the run where they are downloaded to."""
        shutil.rmtree(self.temporary, ignore_errors=True)
        shutil.copytree(self.tree / "report", self.temporary / "report")
        done = run_step(job.step(step), self.tree, self.environment)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def report(self, name: str) -> str:
        """Read a file that the last report has left."""
        return (self.tree / "report" / name).read_text()

    def api(self, method: str, path: str, body: Mapping[str, object]) -> None:
        """Change something behind Pulumi's back."""
        request = (
            f"curl --fail --silent --show-error --output /dev/null --request {method} --data '{json.dumps(body)}' "
            f'--header "Authorization: Bearer $DIGITALOCEAN_TOKEN" --header "Content-Type: application/json" '
            f"https://api.digitalocean.com/v2/{path}"
        )
        run("sandbox", "exec", "bash", "-ec", request, home=self.world.home)

    def requests(self, since: int = 0) -> list[tuple[int, str, str]]:
        """Number, method and path of the API's requests."""
        made = Store(self.world.database, read_only=True).requests(since)
        return [(request["number"], request["method"], request["path"]) for request in made]


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """All of it, with the stack `dev` that has a secret, and has never been deployed."""
    tree, home = Path(tempfile.mkdtemp(prefix="checkout-")), Path(tempfile.mkdtemp(prefix="world-"))
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", home=home).stdout
    others = {f"Pulumi.{stack}.yaml" for stack in STACKS} - {"Pulumi.dev.yaml"}  # nothing more to see, twice the time
    for name in set(listed.split("\0")) - others:
        if name and (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    (tree / ".venv").symlink_to(ROOT / ".venv")
    run("sandbox", "up", "--depth", "api", home=home)
    with serving() as state:
        runner = Runner(tree=tree, world=worlds.load(home), state=state, temporary=home / "temporary")
        init = "pulumi stack init dev; pulumi config set --stack dev --secret --path app.secrets.API_KEY of-the-shop"
        made = run_step({"run": init}, tree, runner.environment, "sandbox", "exec")
        assert made.returncode == 0, made.stderr
        yield runner
    run("sandbox", "down", home=home)
    shutil.rmtree(home, ignore_errors=True)
    shutil.rmtree(tree)


def test_a_pull_request_gets_one_comment(runner: Runner) -> None:
    """With what would be made, the commit, and the engine's words folded away; the same again changes nothing."""
    preview, comment = job("preview-stack", "preview"), job("preview-stack", "comment")
    done = runner.inside(preview, "Preview")
    assert done.returncode == 0, done.stderr
    assert "create" in runner.report("report.md")
    assert runner.outside(comment, "Write the comment").startswith("created ")

    body = runner.state.comments[7][0]["body"]
    assert body.startswith(
        "<!-- django-do preview: dev -->\nPreview of `dev` with 01234567 ([run](https://github.example/"
    )
    assert runner.report("report.md").strip() in body
    assert "<details><summary>The full log</summary>" in body
    assert "digitalocean:index/databaseCluster:DatabaseCluster" in body.partition("<details>")[2]
    assert runner.outside(comment, "Write the comment").startswith("unchanged ")


def test_a_preview_that_fails_is_a_report_too(runner: Runner) -> None:
    """The job fails, and the comment says what is wrong with the settings."""
    settings = runner.tree / "Pulumi.dev.yaml"
    before = settings.read_text()
    settings.write_text(before.replace("size: db-s-1vcpu-2gb", "size: db-s-one"))
    done = runner.inside(job("preview-stack", "preview"), "Preview")
    settings.write_text(before)
    assert done.returncode != 0
    runner.outside(job("preview-stack", "comment"), "Write the comment")
    assert "db-s-one" in runner.state.comments[7][0]["body"]
    assert len(runner.state.comments[7]) == 1


def test_a_fork_is_previewed_against_the_sandbox(runner: Runner, tmp_path: Path) -> None:
    """Every stack, in a world of the job's own that can read no secret; the reports are the run's summary."""
    home = Path(tempfile.mkdtemp(prefix="world-"))
    step = job("preview", "sandbox").step("Preview against the sandbox's API, where nothing exists yet")
    summary = tmp_path / "summary"
    environment = runner.environment | {"SANDBOX_HOME": str(home), "GITHUB_STEP_SUMMARY": str(summary)}
    done = run_step(step, runner.tree, environment)
    run("sandbox", "down", home=home)
    assert done.returncode == 0, done.stderr
    assert "secure:" in (runner.tree / "Pulumi.dev.yaml").read_text()
    assert ["local" in summary.read_text(), "dev" in summary.read_text()] == [True, True]
    assert summary.read_text().count("create") >= 2


@pytest.fixture(scope="module")
def deployed(runner: Runner) -> Runner:
    """The same after a deploy."""
    done = runner.inside(job("deploy-stack", "up"), "pulumi up")
    assert done.returncode == 0, done.stdout + done.stderr
    return runner


DRIFT = "Compare the state with DigitalOcean"


@pytest.fixture(scope="module")
def quiet_night(deployed: Runner) -> tuple[str, set[tuple[str, str]]]:
    """What becomes of the issue in a night without drift; methods and paths of what DigitalOcean was asked."""
    last = deployed.requests()[-1][0]
    checked = deployed.inside(job("drift", "drift"), DRIFT)
    assert checked.returncode == 0, checked.stderr
    made = {(method, path) for _, method, path in deployed.requests(last)}
    return deployed.outside(job("drift", "issue"), "Open, change or close the issue"), made


def test_nights_without_and_with_drift(deployed: Runner, quiet_night: tuple[str, set[tuple[str, str]]]) -> None:
    """Quiet ones, and a change behind Pulumi's back: an issue that is closed again when it is fixed."""
    runner, drift, issue = deployed, job("drift", "drift"), job("drift", "issue")

    def night() -> str:
        checked = runner.inside(drift, DRIFT)
        assert checked.returncode == 0, checked.stderr
        return runner.outside(issue, "Open, change or close the issue")

    assert quiet_night[0] == "none open\n"
    # A commit that is merged and waits for its approval is not drift.
    views = runner.tree / "app" / "polls" / "views.py"
    before = views.read_text()
    views.write_text(f"{before}\n# changed\n")
    assert night() == "none open\n"
    views.write_text(before)

    droplet = re.search(r"/v2/droplets/(\d+)", " ".join(path for _, _, path in runner.requests()))
    assert droplet is not None
    resources = {"resources": [{"resource_id": droplet[1], "resource_type": "droplet"}]}
    runner.api("DELETE", "tags/polls-dev-web/resources", resources)
    assert night().startswith("created ")
    (opened,) = runner.state.issues
    assert opened["title"] == "dev has been changed behind Pulumi's back"
    assert "update" in opened["body"].partition("<details>")[0]
    assert '[1]: "polls-dev-web" => ' in opened["body"].partition("<details>")[2]
    runner.api("POST", "tags/polls-dev-web/resources", resources)
    assert night().startswith("closed ")
    assert opened["state"] == "closed"


def test_that_pulumi_failed_is_no_drift(deployed: Runner) -> None:
    """The run fails and nobody closes, or opens, an issue for it."""
    runner = deployed
    failed = runner.inside(job("drift", "drift"), DRIFT, "env", "DIGITALOCEAN_TOKEN=wrong")
    assert failed.returncode == 1
    assert "not known" in runner.report("report.md")
    assert runner.report("status").strip() not in {"0", "7"}


def scopes(heading: str) -> dict[str, str]:
    """Read the page's table of scopes below a heading: the paths that need each."""
    section = PAGE.read_text().partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    return dict(re.findall(r"^\| `([a-z_]+:read)` \| `(/v2/[^`]+)`", section, re.MULTILINE))


def only_reads(made: set[tuple[str, str]], heading: str) -> None:
    """Fail unless these are reads, and the scopes below the heading are those that they need."""
    assert {method for method, _ in made} == {"GET"}
    listed = scopes(heading)
    prefixes = {path: next((p for p in listed.values() if path.startswith(p)), None) for _, path in made}
    assert [path for path, prefix in prefixes.items() if prefix is None] == []
    assert set(listed.values()) == set(prefixes.values())


def test_a_token_that_only_reads_is_enough_for_the_drift_check(quiet_night: tuple[str, set[tuple[str, str]]]) -> None:
    """The API gets reads only, and the page says for which scopes."""
    only_reads(quiet_night[1], "The token of the drift check")


def test_a_token_that_only_reads_is_enough_for_a_preview(deployed: Runner) -> None:
    """The API gets reads only, and the page says for which scopes; a preview needs no Spaces key."""
    last = deployed.requests()[-1][0]
    without = ["env", "-u", "SPACES_ACCESS_KEY_ID", "-u", "SPACES_SECRET_ACCESS_KEY"]
    assert deployed.inside(job("preview-stack", "preview"), "Preview", *without).returncode == 0
    only_reads({(method, path) for _, method, path in deployed.requests(last)}, "The token of a preview")
