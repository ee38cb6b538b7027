import ast
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google.protobuf  # type: ignore[import-untyped]
import pulumi
import pulumi.runtime
import pytest
from pulumi.runtime import mocks

from provider.actions import ActionError, Operation, running
from provider.resources import AgentPackage
from provider.uploads import spaces_client
from provider.uploads.agent_package import FORM, AgentPackageProvider, Sources, describe, members
from provider.uploads.archive import built, chunks
from tests.components.recording import set_mocks
from tests.unit.conftest import Buckets

ROOT = Path(__file__).parents[2]
MAIN = "import sys\n\nfrom protocol import NAME\n\n\ndef main() -> int:\n    print(NAME, sys.argv[1:])\n    return 3\n"
FILES = {
    "agent/__init__.py": "",
    "agent/__main__.py": MAIN,
    "agent/steps/__init__.py": '"""Steps."""\n',
    "agent/steps/one.py": "ONE = 1\n",
    "agent/zone.py": "TEXT = 'é\\r'\n",
    "protocol/__init__.py": "NAME = 'release'\n",
}
# Prints the digest of a package, on whatever Python runs it.
DIGEST = """
import sys
from pathlib import Path
from provider.uploads.agent_package import Sources, describe
print(describe(Sources(*map(Path, sys.argv[1:])))[0])
"""


def write(root: Path, files: dict[str, str] = FILES) -> Sources:
    """Write a clone's two folders."""
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    return Sources(root / "agent", root / "protocol")


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """An agent of a few files."""
    return write(tmp_path / "clone")


def body(sources: Sources) -> bytes:
    """The package's bytes."""
    return b"".join(chunks(members(sources), FORM))


def entries(sources: Sources) -> list[tarfile.TarInfo]:
    """What a Droplet unpacks."""
    with tarfile.open(fileobj=io.BytesIO(body(sources)), mode="r:") as archive:
        return archive.getmembers()


def pythons() -> list[Path]:
    """The interpreters of this machine that the program may run on: this one, and those that are installed."""
    homes = [Path("/usr"), *Path.home().glob(".pyenv/versions/*"), *Path.home().glob(".local/share/uv/python/*")]
    others = (home / f"bin/python3.{minor}" for home in homes for minor in range(11, 16))
    return [Path(sys.executable), *(python for python in others if python.exists())]


def test_it_runs_as_a_droplet_starts_it(sources: Sources, tmp_path: Path) -> None:
    """Unpacked, the folder is a program: it finds the agent and the protocol, and hands over arguments and status."""
    (tmp_path / "package").mkdir()
    with built(members(sources), FORM) as archive:
        subprocess.run(["tar", "-x", "-C", tmp_path / "package"], stdin=archive.file, check=True)
    done = subprocess.run(
        [sys.executable, "-I", tmp_path / "package", "x"], cwd="/", stdout=subprocess.PIPE, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("release ['x']\n", 3)


def test_it_holds_sources_and_nothing_of_this_machine(sources: Sources) -> None:
    """Names are sorted, a folder comes before what is in it; times, owners and modes are fixed."""
    assert [(one.name, oct(one.mode), one.isdir()) for one in entries(sources)] == [
        ("__main__.py", "0o644", False),
        ("agent", "0o755", True),
        ("agent/__init__.py", "0o644", False),
        ("agent/__main__.py", "0o644", False),
        ("agent/steps", "0o755", True),
        ("agent/steps/__init__.py", "0o644", False),
        ("agent/steps/one.py", "0o644", False),
        ("agent/zone.py", "0o644", False),
        ("protocol", "0o755", True),
        ("protocol/__init__.py", "0o644", False),
    ]
    for one in entries(sources):
        assert (one.mtime, one.uid, one.gid, one.uname, one.gname, one.pax_headers) == (0, 0, 0, "", "", {})


def test_the_digest_is_the_one_that_it_was_on_every_machine(sources: Sources) -> None:
    """A known answer: another one, for the same sources, would replace every Droplet."""
    sha256 = "2600355f0c26a326310b5666d8ad53b237dcf332d031cf20b0030770d7d98203"
    assert describe(sources) == (sha256, f"agents/{sha256}.tar")


@pytest.mark.parametrize("python", pythons(), ids=str)
def test_every_python_packs_the_same_bytes(sources: Sources, python: Path) -> None:
    """A colleague's machine and CI must not replace each other's Droplets."""
    packages = Path(google.protobuf.__file__).parents[2]
    done = subprocess.run(
        [python, "-c", DIGEST, *sources],
        cwd=ROOT,
        env={"PYTHONPATH": f"{packages}{os.pathsep}{ROOT / 'plugin_base/src'}", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == describe(sources)[0]


def test_another_clone_is_the_same_bytes(sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With times, modes, an order and leftovers of its own."""
    with built(members(sources), FORM) as archive:
        expected = archive.sha256
    other = write(tmp_path / "other", dict(reversed(FILES.items())))
    for file in (tmp_path / "other").rglob("*"):
        file.chmod(0o700)
        os.utime(file, (1, 1))
    leftovers = ("agent/__pycache__/zone.cpython-313.pyc", "agent/old.pyc", "agent/.zone.py.swp", "protocol/.DS_Store")
    write(tmp_path / "other", dict.fromkeys(leftovers, "x"))
    (other.agent / "removed").mkdir()
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: sorted(listed(self), reverse=True))
    assert describe(other)[0] == expected


def git(folder: Path, *arguments: str) -> None:
    """Run git as nobody in particular, without this machine's settings."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    options = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    subprocess.run(["git", *options, *arguments], cwd=folder, env=environment, check=True, capture_output=True)


def test_a_clone_with_other_ends_of_lines_is_the_same_bytes(sources: Sources, tmp_path: Path) -> None:
    """core.autocrlf writes CRLF; the control is that it did."""
    clone = sources.agent.parent
    git(clone, "init", "--quiet")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "--message", "one")
    git(tmp_path, "clone", "--quiet", "--config", "core.autocrlf=true", str(clone), "other")
    other = tmp_path / "other"
    assert b"\r\n" in (other / "agent/__main__.py").read_bytes()
    assert describe(Sources(other / "agent", other / "protocol")) == describe(sources)


def imported(source: bytes) -> set[str]:
    """The modules that a file asks for."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module in {"agent", "protocol"}:
            found |= {f"{node.module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    return found


def test_the_agent_of_this_clone_has_all_that_it_imports() -> None:
    """On a Droplet there are the package, Python's standard library, and pycurl as a Debian package.

    `agent/server` is for the app's own Python, which has Django and Gunicorn.
    """
    files = {
        member.info.name: member.content
        for member in members()
        if member.info.isreg() and not member.info.name.startswith("agent/server/")
    }
    modules = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in files}
    missing = {
        f"{name}: {module}"
        for name, content in files.items()
        if isinstance(content, bytes)
        for module in imported(content) - modules
        if module.partition(".")[0] not in {*sys.stdlib_module_names, "pycurl"}
        # The app's Python runs these, with Django and Gunicorn, and with their own folder on its path.
        and not (name.startswith("agent/server/") and module.partition(".")[0] in {"django", "gunicorn"})
        and f"agent.server.{module}" not in modules
    }
    assert missing == set()
    assert {"agent.follow", "protocol.release"} <= modules


def test_any_change_is_another_digest(sources: Sources) -> None:
    """Of the agent, and of the protocol."""
    digests = {describe(sources)[0]}
    (sources.agent / "zone.py").write_text("TEXT = ''\n")
    digests.add(describe(sources)[0])
    (sources.protocol / "new.py").touch()
    digests.add(describe(sources)[0])
    assert len(digests) == 3


def test_what_is_no_source_is_refused(sources: Sources) -> None:
    """It would be on no Droplet, or be another thing there."""
    refused = [sources.agent / "notes.md", sources.agent / "link.py", sources.agent / "pipe.py", sources.agent / "out"]
    for file, make in zip(
        refused,
        (Path.touch, lambda file: file.symlink_to("zone.py"), os.mkfifo, lambda file: file.symlink_to("/etc")),
        strict=True,
    ):
        make(file)
        with pytest.raises(ActionError, match=f"{file}: must be a .py file, the agent's package holds nothing else"):
            describe(sources)
        file.unlink()
    describe(sources)


@pytest.mark.parametrize("name", ["é.py", "x" * 100 + ".py"])
def test_a_name_that_not_every_tar_can_hold_is_refused(sources: Sources, name: str) -> None:
    """The oldest form of the archive is the one that reads the same everywhere."""
    (sources.agent / name).touch()
    with pytest.raises(ActionError, match=f"agent/{name}: must fit into the archive's header"):
        describe(sources)


@pytest.mark.parametrize("missing", ["agent", "protocol"])
def test_a_clone_without_its_packages_is_said(sources: Sources, missing: str) -> None:
    """Droplets would be replaced by some that do nothing."""
    folder: Path = getattr(sources, missing)
    (folder / "__init__.py").unlink()
    with pytest.raises(ActionError, match=rf"{folder}: must be the Python package `{missing}`, is not"):
        describe(sources)


@pytest.fixture
def props(sources: Sources, buckets: Buckets) -> dict[str, Any]:
    """The inputs of an update."""
    sha256, key = describe(sources)
    return {"bucket": buckets.releases, "region": buckets.region, "sha256": sha256, "key": key, "look": True}


def test_it_is_uploaded_under_its_digest(sources: Sources, buckets: Buckets, props: dict[str, Any]) -> None:
    """What a Droplet verifies is what was packed; the outputs don't say what the update looked for."""
    created = AgentPackageProvider(sources).create(props)
    assert buckets.body(buckets.releases, props["key"]) == body(sources)
    assert created.outs == {name: props[name] for name in ("bucket", "region", "sha256", "key")}


def test_another_agent_is_uploaded_beside_the_old_one(
    sources: Sources, buckets: Buckets, props: dict[str, Any]
) -> None:
    """Droplets in the middle of a roll, and a rollback to an older commit, still ask for that."""
    provider = AgentPackageProvider(sources)
    provider.create(props)
    (sources.agent / "new.py").touch()
    sha256, key = describe(sources)
    news = props | {"sha256": sha256, "key": key}
    assert provider.diff("id", props, news).changes
    provider.update("id", props, news)
    assert buckets.keys(buckets.releases) == sorted([props["key"], key])


def test_what_is_there_is_no_change_and_is_not_uploaded_again(
    sources: Sources, buckets: Buckets, props: dict[str, Any]
) -> None:
    """Not even if it is something else: nothing ever changes an object under a digest."""
    buckets.client.put(buckets.releases, props["key"], b"first upload", "application/x-tar")
    outs = AgentPackageProvider(sources).create(props).outs
    assert AgentPackageProvider(sources).diff("id", outs, props).changes is False
    assert buckets.body(buckets.releases, props["key"]) == b"first upload"


def test_what_was_deleted_by_hand_is_uploaded_by_the_next_update(
    sources: Sources, buckets: Buckets, props: dict[str, Any]
) -> None:
    """Without a refresh, which nobody would think of; the resource stays, and the Droplets with it."""
    provider = AgentPackageProvider(sources)
    outs = provider.create(props).outs
    client = spaces_client.spaces_client(buckets.region, spaces_client.credentials())
    client.delete_object(Bucket=buckets.releases, Key=props["key"])
    diff = provider.diff("id", outs, props)
    assert (diff.changes, diff.replaces) == (True, [])
    assert provider.update("id", outs, props).outs == outs
    assert buckets.keys(buckets.releases) == [props["key"]]


class Declared(mocks.Mocks):
    """Keeps the inputs of the last resource."""

    def __init__(self) -> None:
        self.inputs: dict[str, Any] = {}

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """Give the inputs back."""
        self.inputs = args.inputs
        return "id", args.inputs

    def call(self, args: mocks.MockCallArgs) -> dict[str, Any]:
        """Nothing is asked."""
        raise NotImplementedError(args.token)


@pytest.mark.parametrize("preview", [True, False])
def test_the_program_names_the_package_and_lets_an_update_look(sources: Sources, preview: bool) -> None:
    """Digest and key are known in a preview, so it shows which Droplets another agent replaces."""
    kept = Declared()
    set_mocks(kept, preview=preview)

    @pulumi.runtime.test
    def declare() -> pulumi.Output[None]:
        package = AgentPackage("agent", bucket="b", region="nyc3", sources=sources)
        return pulumi.Output.all(package.sha256, package.key).apply(seen.extend)

    seen: list[str] = []
    declare()
    sha256, key = describe(sources)
    assert seen == [sha256, key]
    assert kept.inputs == {"bucket": "b", "region": "nyc3", "sha256": sha256, "key": key, "look": not preview}


def test_the_programs_refusal_is_no_traceback(sources: Sources) -> None:
    """As that of every other part of the program: Pulumi shows the words of this error alone."""
    (sources.agent / "notes.md").touch()
    with pytest.raises(pulumi.RunError, match="the agent's package holds nothing else"):
        AgentPackage("agent", bucket="b", region="nyc3", sources=sources)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """No Spaces keys, so nothing can be asked; what is reported meanwhile."""
    monkeypatch.delenv("SPACES_ACCESS_KEY_ID", raising=False)
    said: list[str] = []
    with running(Operation(Any, said.append, said.append)):
        yield said


def test_a_preview_asks_spaces_for_nothing(props: dict[str, Any], away: list[str]) -> None:
    """It takes no time for that, and needs no key."""
    assert AgentPackageProvider().diff("id", props, props | {"look": False}).changes is False
    assert away == []


def test_an_update_goes_on_when_it_can_not_look(props: dict[str, Any], away: list[str]) -> None:
    """A firewall can be changed while Spaces is away; it is said."""
    assert AgentPackageProvider().diff("id", props, props).changes is False
    [said] = away
    assert said.startswith("taken to be there: Spaces keys: must be set")


@pytest.mark.parametrize(("name", "replaces"), [("sha256", []), ("bucket", ["bucket"]), ("region", ["region"])])
def test_another_agent_updates_and_another_bucket_replaces(
    props: dict[str, Any], name: str, replaces: list[str]
) -> None:
    """What is in another bucket is another object."""
    diff = AgentPackageProvider().diff("id", props, props | {name: "other"})
    assert (diff.changes, diff.replaces) == (True, replaces)


def test_sources_that_change_meanwhile_are_refused(sources: Sources, buckets: Buckets, props: dict[str, Any]) -> None:
    """The user data has the digest that was previewed."""
    (sources.agent / "new.py").touch()
    with pytest.raises(ActionError, match="cloud-init/agent and protocol: must not change during the update"):
        AgentPackageProvider(sources).create(props)
    assert buckets.keys(buckets.releases) == []


def test_inputs_that_are_no_package_are_refused() -> None:
    """All problems at once."""
    assert AgentPackageProvider().check({}, {"bucket": "b", "region": "", "sha256": "1"}).failures == [
        "agent package.region: must be a non-empty text, got an empty one",
        "agent package.key: must be a non-empty text, got NoneType",
    ]
