"""A Droplet's first program: it gets the agent's package, whatever Spaces do meanwhile, or says why it can't."""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import start
from backports import tarfile as newer_tarfile  # type: ignore[import-untyped]

from protocol.node import NodeReport, node_key
from protocol.package import package_key
from tests.agent_package import archive, package
from tests.unit.spaces_server import Action, Request, SpacesServer, Trust, answer, half, hang_up, listening, trust

if not hasattr(tarfile, "data_filter"):
    # A Droplet has Python 3.13; Debian 12's 3.11.2 is older than the filter. This is 3.12's module.
    start.tarfile = newer_tarfile  # type: ignore[attr-defined]

PACKAGE = package()
DIGEST = hashlib.sha256(PACKAGE).hexdigest()
KEY = package_key(DIGEST)
ACCESS_KEY, SECRET_KEY = "DO00AGENT", 'the "agent\'s" own \\key+/'
HERE = answer(200, PACKAGE)
DENIED = answer(403, b"<Code>InvalidAccessKeyId</Code>")


@pytest.fixture(scope="module")
def spaces_trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    """The certificate of Spaces on this machine: names below localhost are its own."""
    return trust(tmp_path_factory.mktemp("trust"), "releases.localhost", "state.localhost")


@dataclass(frozen=True, kw_only=True)
class Droplet:
    """A Droplet that has been told where its Spaces are."""

    journal: pytest.CaptureFixture[str]
    spaces: SpacesServer
    packages: Path

    @property
    def config(self) -> Mapping[str, str]:
        """What cloud-init wrote."""
        return {
            "region": "nyc3",
            "endpoint": f"https://localhost:{self.spaces.server_port}",
            "releases_bucket": "releases",
            "state_bucket": "state",
            "access_key": ACCESS_KEY,
            "secret_key": SECRET_KEY,
            "package": DIGEST,
        }

    def start(self, *actions: Action, patience: float = 90) -> Path:
        """Start the bootstrap; Spaces do this, then answer 200."""
        self.spaces.next[:] = actions
        folder: Path = start.package(self.config, lambda: "4711", self.packages, patience)
        return folder

    def refused(self, *actions: Action, patience: float = 90) -> str:
        """Return why it ended; nothing else stays."""
        with pytest.raises(SystemExit) as ended:
            self.start(*actions, patience=patience)
        assert ended.value.code == start.REPORTED
        assert os.listdir(self.packages) == ["lock"]  # noqa: PTH208 - names
        return self.journal.readouterr().err.removesuffix("\n")

    def asked(self, method: str) -> list[Request]:
        """All requests of a kind."""
        return [request for request in self.spaces.requests if request.method == method]


@pytest.fixture
def droplet(
    tmp_path: Path, spaces_trust: Trust, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Droplet]:
    """A new Droplet, which trusts these Spaces."""
    for name in ("https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CURL_CA_BUNDLE", str(spaces_trust.bundle))
    with listening(SpacesServer(spaces_trust.context, speaks_tls=True)) as spaces:
        yield Droplet(journal=capsys, spaces=spaces, packages=tmp_path / "agents")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Time that passes in the pauses only."""
    clock = SimpleNamespace(now=0.0)

    def sleep(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(start, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    return clock


def signed(request: Request, key: str) -> bool:
    """Whether a request has the signature that botocore would make."""
    return request.is_signed_by(ACCESS_KEY, SECRET_KEY, key=key)


def test_what_a_killed_start_has_left_is_removed(droplet: Droplet) -> None:
    """Half a package is of no use to anybody."""
    half = droplet.packages / "tmpabcd"
    half.mkdir(parents=True)
    (half / "package.tar").write_bytes(b"half")
    assert droplet.start(HERE) == droplet.packages / DIGEST
    assert sorted(os.listdir(droplet.packages)) == sorted([DIGEST, "lock"])  # noqa: PTH208 - names


def test_the_package_is_fetched_once(droplet: Droplet) -> None:
    """It is unpacked where its hash says; the next start, and another service's at the same time, find it there."""
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _number: droplet.start(HERE), range(2))
    assert first == second == droplet.packages / DIGEST == droplet.start()
    assert {path.name for path in first.iterdir()} == {"__main__.py", "agent", "protocol"}
    assert first.stat().st_mode & 0o777 == 0o755
    assert sorted(os.listdir(droplet.packages)) == [DIGEST, "lock"]  # noqa: PTH208 - names
    (request,) = droplet.spaces.requests
    assert signed(request, KEY)


def test_the_key_is_no_argument(droplet: Droplet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody on the Droplet sees the arguments of all programs."""
    wrapper = tmp_path / "bin" / "curl"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{tmp_path}/arguments\nexec {shutil.which("curl")} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    droplet.refused(answer(404))
    arguments = (tmp_path / "arguments").read_text()
    assert KEY in arguments
    assert node_key(4711) in arguments
    assert SECRET_KEY not in arguments
    assert ACCESS_KEY not in arguments


@pytest.mark.parametrize(
    ("action", "rule"),
    [
        (answer(404, b"<Code>NoSuchKey</Code>"), "must be there, is not; run `pulumi up`, which uploads it again"),
        (answer(200, archive({"agent/__init__.py": b"raise SystemExit"})), f"must have SHA-256 {DIGEST}, got "),
        (
            answer(200),
            f"must have SHA-256 {DIGEST}, got {hashlib.sha256().hexdigest()}; delete it, then run `pulumi up`",
        ),
        (answer(400), "could not be read, Spaces answered 400"),
    ],
    ids=["missing", "of other bytes", "empty", "refused"],
)
def test_what_does_not_pass_by_is_reported_at_once(droplet: Droplet, action: Action, rule: str) -> None:
    """As a report that the runner understands, and the same words are in the journal; a repaired Space is found."""
    error = droplet.refused(action)
    assert error.startswith(f"releases/{KEY}: {rule}")
    get, put = droplet.spaces.requests
    assert (get.method, put.method, put.target) == ("GET", "PUT", f"/{node_key(4711)}")
    assert put.headers["host"].startswith("state.")
    assert put.headers["content-type"] == "application/json"
    assert signed(put, node_key(4711))
    report = NodeReport.parse(json.loads(put.body))
    assert report
    assert dataclasses.replace(report, at="") == NodeReport(
        release="", attempt=0, phase="bootstrap", healthy=False, error=error, at=""
    )
    assert json.loads(put.body) | {"notes": []} == report.document()  # no field more
    assert droplet.start(HERE) == droplet.packages / DIGEST


@pytest.mark.parametrize("trouble", [answer(503), answer(500), answer(429), DENIED, hang_up, half(PACKAGE)])
def test_spaces_that_are_away_for_a_minute_are_waited_for(
    droplet: Droplet, clock: SimpleNamespace, trouble: Action
) -> None:
    """Errors, connections that end, and the refusal of a key that was made just now; nothing is reported."""

    def away(handler: object) -> None:
        droplet.spaces.next.append(HERE if clock.now > 60 else away)
        trouble(handler)  # type: ignore[arg-type]

    assert droplet.start(away) == droplet.packages / DIGEST
    assert 60 < clock.now < start.PATIENCE
    assert droplet.asked("PUT") == []


def test_nobody_at_home_is_waited_for(droplet: Droplet, clock: SimpleNamespace) -> None:
    """Neither a refused connection nor a name that leads nowhere ends it before its time; then it says which it was."""
    with listening(SpacesServer()) as gone:
        port = gone.server_port
    for endpoint, words in ((f"https://localhost:{port}", "onnect to"), ("https://nyc3.invalid", "esolve")):
        clock.now = 0.0
        with pytest.raises(SystemExit):
            start.package({**droplet.config, "endpoint": endpoint}, lambda: "4711", droplet.packages)
        error = droplet.journal.readouterr().err
        assert re.search(f"could not be read, curl: .*{words}.*, for 90 s$", error.strip()), error
        assert clock.now > start.PATIENCE


def test_a_key_that_stays_wrong_is_reported(droplet: Droplet, clock: SimpleNamespace) -> None:
    """After a time, in which it is tried again and again."""
    error = droplet.refused(*[DENIED] * 3, patience=1)
    assert clock.now == 1.5
    assert error == f"releases/{KEY}: could not be read, Spaces answered 403, for 1 s"
    assert len(droplet.asked("GET")) == 3
    assert len(droplet.asked("PUT")) == 1


def test_an_end_that_nobody_asked_for_is_reported(
    droplet: Droplet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the last words of the journal, however much and whatever is in there; other ends are reported already."""
    journalctl = tmp_path / "journalctl"
    journalctl.write_text("#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' x\nprintf '\\351 the end'\n")
    journalctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(start, "metadata_id", lambda: "4711")
    start.ended(droplet.config, "success", "0")
    start.ended(droplet.config, "exit-code", str(start.REPORTED))
    assert droplet.spaces.requests == []
    start.ended(droplet.config, "watchdog", "6")
    (put,) = droplet.spaces.requests
    error = json.loads(put.body)["error"]
    assert error.startswith("release-agent.service ended with watchdog\nx")
    assert error.endswith("x\N{REPLACEMENT CHARACTER} the end")


def test_a_report_that_nobody_takes_does_not_hide_the_reason(droplet: Droplet) -> None:
    """The journal has it all the same, and systemd starts the program again."""
    assert droplet.refused(answer(404), answer(403)).startswith(f"releases/{KEY}: must be there")
