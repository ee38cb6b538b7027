"""What the programs that read the files of a Droplet say about them: unknown names are errors here."""

import dataclasses
import json
import re
import shutil
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from protocol.node import node_key
from provider.uploads.agent_package import ROOT
from tests.agent_package import START
from tests.golden.droplet import droplet, files, succeed, write
from tests.golden.readers import DEBIAN, HERE, NGINX, Reading, gunicorn, nginx_with_certificate, systemd
from tests.unit.spaces_server import SpacesServer, answer, listening, trust
from tests.unit.test_agent_spaces import CONFIG, KEYS


def _name(reading: Reading) -> str:
    return reading.by.__name__


@pytest.fixture(scope="module")
def machine() -> Iterator[Path]:
    """Root of a Debian 13 with a Droplet's packages and files, not booted."""
    with droplet() as root:
        yield root


def _slip(root: Path, reading: Reading) -> str:
    """What a reader says of its files when one has a wrong name."""
    name, right, wrong = reading.slip
    path = root / name.lstrip("/")
    before = path.read_text()
    assert right in before
    path.write_text(before.replace(right, wrong, 1))
    try:
        return reading.by(root, reading.paths(files()))
    finally:
        path.write_text(before)


def test_every_file_has_a_reader() -> None:
    """A new file of the user data is read strictly by somebody, or this fails."""
    listed = files()
    assert listed.keys() - {path for reading in (*HERE, *DEBIAN) for path in reading.paths(listed)} == set()


@pytest.mark.parametrize("reading", HERE, ids=_name)
def test_a_reader_that_is_here_knows_every_name(tmp_path: Path, reading: Reading) -> None:
    """Gunicorn's settings, the agent's, and what its programs call."""
    write(tmp_path)
    assert reading.by(tmp_path, reading.paths(files())) == ""


@pytest.mark.parametrize("reading", HERE, ids=_name)
def test_a_reader_that_is_here_finds_a_slip(tmp_path: Path, reading: Reading) -> None:
    """A name that it doesn't know is an error, and the error names it."""
    write(tmp_path)
    assert reading.slip[2] in _slip(tmp_path, reading)


def test_a_setting_that_is_there_twice_is_found(tmp_path: Path) -> None:
    """The second would win, and whoever changes the first would wonder."""
    (tmp_path / "gunicorn.conf.py").write_text("timeout = 30\ntimeout = 31\n")
    assert gunicorn(tmp_path, ["/gunicorn.conf.py"]) == "/gunicorn.conf.py: timeout is set 2 times\n"


def test_systemd_waits_longer_than_gunicorn_for_the_last_requests() -> None:
    """Or it would kill workers that Gunicorn still gives time."""
    patience = re.search(r"^graceful_timeout = (\d+)$", files()["/etc/gunicorn/gunicorn.conf.py"], re.MULTILINE)
    limit = re.search(r"^TimeoutStopSec=(\d+)$", files()["/etc/systemd/system/gunicorn.service"], re.MULTILINE)
    assert patience
    assert limit
    assert int(limit[1]) > int(patience[1])


def test_the_agents_look_comes_from_an_address() -> None:
    """For Nginx who comes by a socket is `unix:`, at which an app that keeps its visitors' addresses would be a 500."""
    sent = re.findall(r"(?m)^proxy_set_header X-(?:Real-IP|Forwarded-For) (.+);$", files()["/etc/nginx/proxy.conf"])
    assert sent == ["$visitor"] * 2
    [rows] = re.findall(r"map \$remote_addr \$visitor \{([^}]*)\}", files()["/etc/nginx/nginx.conf"])
    visitor = dict(row.rstrip(";").split() for row in rows.strip().splitlines())
    assert visitor.pop("default") == "$remote_addr"
    assert ip_address(visitor.pop('"unix:"')).is_loopback
    assert visitor == {}


@pytest.mark.full
@pytest.mark.parametrize("reading", DEBIAN, ids=_name)
def test_a_reader_in_debian_knows_every_name(machine: Path, reading: Reading) -> None:
    """Each program that reads files of a Droplet finds them valid, and has no warning."""
    assert reading.by(machine, reading.paths(files())) == ""


@pytest.mark.full
@pytest.mark.parametrize("reading", DEBIAN, ids=_name)
def test_a_reader_in_debian_finds_a_slip(machine: Path, reading: Reading) -> None:
    """A name that it doesn't know is an error, and the error names it or its file."""
    path, _, wrong = reading.slip
    complaints = _slip(machine, reading)
    assert wrong in complaints or path in complaints, complaints


@pytest.mark.full
@pytest.mark.parametrize(
    ("right", "wrong"), [("network-online.target", "network-onlin.target"), ("Group=django", "Group=jango")]
)
def test_units_name_nobody_who_is_not_there(machine: Path, right: str, wrong: str) -> None:
    """For systemd they may come later; here all are there."""
    path = "/etc/systemd/system/gunicorn.service"
    reading = Reading(by=systemd, files=path, slip=(path, right, wrong))
    assert re.fullmatch(rf"{path}: \w+={wrong.removeprefix('Group=')} is not there\n", _slip(machine, reading))


@pytest.mark.full
def test_the_first_ssh_configuration_wins(machine: Path) -> None:
    """What is said of passwords is what sshd does, whatever Debian and cloud-init say later."""
    found = succeed(machine, "sh", "-c", "mkdir /run/sshd && sshd -T").splitlines()
    assert {"passwordauthentication no", "kbdinteractiveauthentication no"} <= set(found)


@pytest.mark.full
def test_port_443_is_served_once_there_is_a_certificate(machine: Path) -> None:
    """Nginx starts without one."""
    assert "443" not in succeed(machine, *NGINX, "-T", "-q")
    assert "443" in nginx_with_certificate(machine, "-T")


@pytest.mark.full
@pytest.mark.parametrize(("unit", "tenths"), [("gunicorn.service", 15), ("release-agent.service", 30)])
def test_services_are_exposed_as_little_as_their_work_allows(machine: Path, unit: str, tenths: int) -> None:
    """By systemd's own measure, of 10: at most 1.5 what serves strangers, at most 3 what must be root to switch."""
    report = succeed(machine, "systemd-analyze", "security", "--offline=yes", f"--threshold={tenths}", unit)
    found = re.search(rf"Overall exposure level for {unit}: (\d+\.\d) OK", report)
    assert found, report
    assert float(found[1]) * 10 <= tenths


@pytest.mark.full
def test_debians_libcurl_and_curl_sign_as_s3_wants_it(machine: Path, tmp_path: Path) -> None:
    """Versions differ in what they sign, and how they quote: every kind of request that a Droplet makes of Spaces."""
    place = machine / "requests"
    for source in (START.with_name("agent"), ROOT / "protocol"):
        shutil.copytree(source, place / source.name, dirs_exist_ok=True)
    for file in (START, Path(__file__).with_name("signed_requests.py")):
        shutil.copy(file, place)
    spaces = trust(tmp_path, "releases.localhost", "state.localhost")
    shutil.copy(spaces.bundle, place / "bundle.crt")
    prefix = "".join(chr(code) for code in range(ord(" "), ord("~")) if chr(code) != "+") + "é/日"
    headers = {"content-type": "text/css; charset=utf-8", "cache-control": "public,max-age=1", "x-amz-acl": "private"}
    with listening(SpacesServer(spaces.context, speaks_tls=True)) as server:
        server.next = [answer(200)] * 3 * len(KEYS) + [answer(200, b"<ListBucketResult/>")]
        config = dataclasses.asdict(CONFIG) | {"endpoint": f"https://localhost:{server.server_port}"}
        asked = {"config": config, "keys": KEYS, "headers": headers, "prefix": prefix}
        succeed(machine, "python3", "-B", "/requests/signed_requests.py", json.dumps(asked))
        *objects, question, told = server.requests
    kept = [(request, key) for key in KEYS for request in (objects.pop(0), objects.pop(0), objects.pop(0))]
    assert [request.method for request, _ in kept] == ["GET", "GET", "PUT"] * len(KEYS)
    for request, key in (*kept, (told, node_key(4711))):
        assert request.is_signed_by(CONFIG.access_key, CONFIG.secret_key, key=key), (request.method, key)
    query = {"list-type": "2", "prefix": prefix}
    assert question.is_signed_by(CONFIG.access_key, CONFIG.secret_key, key="", query=query)
    assert "curl/8.14" in told.headers["user-agent"]
    assert "libcurl/8.14" in question.headers["user-agent"]
