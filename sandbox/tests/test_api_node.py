"""A simulated node runs the real agent: it fetches and verifies what it runs, follows the protocol, says what it is."""

import contextlib
import hashlib
import json
import socket
import socketserver
import ssl
import threading
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from agent.app.steps import AppSteps
from agent.machine import Machine
from protocol.environment import canonical, content_hash, environment_key
from protocol.health import mark
from protocol.package import package_key
from protocol.release import artifact_key, release_id
from sandbox.simulated.machine import _Machine, _Steps
from sandbox.world import ports
from sandbox.world.supervisor import Supervisor
from tests.agent_package import START, archive, package
from tests.api_client import DROPLET, Api, Body, until

DOMAIN = "polls.example"
PROJECT = {"manage.py": b"", "uv.lock": b""}


def upload(api: Api, files: dict[str, bytes], **changes: object) -> Body:
    """Upload an artifact and an environment, and make them the desired release."""
    packed = archive(files)
    sha256 = hashlib.sha256(packed).hexdigest()
    environment = canonical(
        {
            "wsgi": "w:app",
            "database": "app@h:25061/pool",
            "health_path": "/",
            "health_status": ["200"],
            "allow": [],
            "secrets": [],
            "env": {},
            "release_env": {},
        }
    )
    content = content_hash(environment)
    desired: Body = {
        "release": release_id(sha256, content),
        "artifact": artifact_key(sha256),
        "sha256": sha256,
        "environment": environment_key(content),
        "attempt": 1,
        "droplets": [],
        "turns": [str(droplet["id"]) for droplet in api.ok(api.raw.get("/v2/droplets"))["droplets"]],
        "complete": True,
        "good": None,
        "leaving": [],
    }
    s3 = api.s3()
    s3.put_object(Bucket="releases", Key=desired["artifact"], Body=packed)
    s3.put_object(Bucket="releases", Key=desired["environment"], Body=environment)
    desired |= changes
    s3.put_object(Bucket="releases", Key="desired.json", Body=json.dumps(desired))
    return desired


def upload_package(api: Api, content: bytes, digest: str | None = None) -> str:
    """Upload an agent's package, under its own hash or under another one; return that."""
    digest = digest or hashlib.sha256(content).hexdigest()
    api.s3().put_object(Bucket="releases", Key=package_key(digest), Body=content)
    return digest


def user_data(api: Api, digest: str) -> str:
    """What a Droplet needs to get the agent's package with this hash, and to find its Spaces."""
    grants = [{"bucket": "releases", "permission": "read"}, {"bucket": "state", "permission": "readwrite"}]
    key = api.client.spaces_key.create({"name": "agent", "grants": grants})["key"]
    config = {
        "region": "nyc3",
        "endpoint": "https://nyc3.digitaloceanspaces.com",
        "domain": DOMAIN,
        "acme_email": "",
        "releases_bucket": "releases",
        "state_bucket": "state",
        "assets_bucket": "assets",
        "access_key": key["access_key"],
        "secret_key": key["secret_key"],
        "package": digest,
    }
    files = [
        {"path": "/etc/release-agent/config.json", "permissions": "0600", "content": json.dumps(config)},
        {"path": "/usr/local/lib/web/start.py", "content": START.read_text()},
    ]
    return "#cloud-config\n" + yaml.safe_dump({"write_files": files})


def node(api: Api, digest: str | None = None) -> Body:
    """A Droplet whose user data has the release agent's configuration; its package is there unless a hash is given."""
    return api.droplet(user_data=user_data(api, digest or upload_package(api, package())))


def disk(api: Api, droplet: Body) -> Path:
    """The folder that stands for the root of a node's disk."""
    return api.world.run / f"node-{droplet['id']}"


def report(api: Api, droplet: Body) -> Body:
    """What the node last reported, empty if nothing."""
    s3 = api.s3()
    try:
        body = s3.get_object(Bucket="state", Key=f"nodes/{droplet['id']}.json")["Body"].read()
    except s3.exceptions.NoSuchKey:
        return {}
    parsed: Body = json.loads(body)
    return parsed


def settled(api: Api, droplet: Body, desired: Body) -> Body:
    """The report that ends an attempt."""
    wanted = (desired["release"], desired["attempt"])
    return until(
        lambda: report(api, droplet),
        lambda seen: (
            seen != {} and (seen["release"], seen["attempt"]) == wanted and seen["phase"] in {"done", "failed"}
        ),
    )


def status(browser: httpx.Client, url: str) -> int:
    """The status of a URL; 0 when there is no answer."""
    try:
        return browser.get(url).status_code
    except httpx.TransportError:
        return 0


@pytest.fixture
def buckets(api: Api) -> None:
    """The buckets of the release protocol."""
    for name in ("releases", "state"):
        api.bucket(name)


@pytest.mark.usefixtures("buckets")
def test_node_waits_takes_the_release_and_serves_its_id(api: Api) -> None:
    """From nothing to the public URL, through Reserved IP, record and the world's certificate."""
    droplet = node(api)
    until(lambda: report(api, droplet).get("phase"), lambda phase: phase == "waiting")
    desired = upload(api, PROJECT)
    seen = settled(api, droplet, desired)
    assert (seen["phase"], seen["healthy"], seen["error"]) == ("done", True, None)

    ip = api.client.reserved_ips.create({"region": "nyc3"})["reserved_ip"]["ip"]
    api.client.domains.create({"name": DOMAIN})
    api.client.domains.create_record(DOMAIN, {"type": "A", "name": "@", "data": ip})
    with api.browser() as browser:
        assert status(browser, f"https://{DOMAIN}/healthz") == 0  # the address leads nowhere yet
        api.assign(ip, droplet["id"])
        until(lambda: status(browser, f"https://{DOMAIN}/healthz"), lambda code: code == HTTPStatus.OK)
        expected = {"status": "ok", "release": desired["release"], "served_by": mark(droplet["id"])}
        assert browser.get(f"https://{DOMAIN}/healthz").json() == expected
        assert browser.get(f"http://{DOMAIN}/healthz").json() == expected
        assert browser.get(f"http://{ip}/healthz").json() == expected
        moved = browser.get(f"http://{DOMAIN}/polls/?a=b")
        assert (moved.status_code, moved.headers["location"]) == (301, f"https://{DOMAIN}/polls/?a=b")
        page = browser.get(f"https://{DOMAIN}/")
        assert page.status_code == HTTPStatus.NOT_IMPLEMENTED
        assert "simulated node" in page.text


def served(api: Api, droplet: Body) -> str | None:
    """The certificate that a node shows, wherever the address leads; None before it serves HTTPS."""
    port = ports.known(api.world).get(f"node-{droplet['id']}-https")
    # The port is known before something listens there.
    with contextlib.suppress(ConnectionRefusedError):
        return ssl.get_server_certificate(("127.0.0.1", port)) if port else None
    return None


@pytest.mark.usefixtures("buckets")
@pytest.mark.parametrize("lost", ["nothing", "the object", "its meaning"])
def test_the_next_node_serves_https_before_the_address_moves(api: Api, lost: str) -> None:
    """With the certificate that the first one kept; as a control, without one that serves only afterwards."""
    desired = upload(api, PROJECT)
    first = node(api)
    settled(api, first, desired)
    assert served(api, first) is None
    ip = api.client.reserved_ips.create({"region": "nyc3"})["reserved_ip"]["ip"]
    api.assign(ip, first["id"])
    certificate = until(lambda: served(api, first), lambda pem: pem is not None)
    kept = {"Bucket": "state", "Key": f"certificates/{DOMAIN}.json"}
    if lost == "the object":
        api.s3().delete_object(**kept)
    elif lost == "its meaning":
        api.s3().put_object(**kept, Body=json.dumps({"fullchain": certificate, "privkey": 1}))

    second = node(api)
    settled(api, second, desired)
    if lost == "nothing":
        assert until(lambda: served(api, second), lambda pem: pem is not None) == certificate
    else:
        assert served(api, second) is None
    api.assign(ip, second["id"])
    until(lambda: served(api, second), lambda pem: pem is not None)
    document = json.loads(api.s3().get_object(**kept)["Body"].read())
    assert document["fullchain"].startswith(served(api, second) or "-")


@pytest.mark.usefixtures("buckets")
def test_artifact_with_another_sha256_is_refused(api: Api) -> None:
    """The node hashes what it got; the error names both; the release before stays up."""
    droplet = node(api)
    good = upload(api, PROJECT)
    assert settled(api, droplet, good)["phase"] == "done"
    bad = upload(api, PROJECT | {"more.py": b""}, sha256="0" * 64)
    seen = settled(api, droplet, bad)
    assert (seen["phase"], seen["healthy"]) == ("failed", False)
    assert f"must have SHA-256 {'0' * 64}, got " in seen["error"]
    ip = droplet["networks"]["v4"][1]["ip_address"]
    with api.browser() as browser:
        assert browser.get(f"http://{ip}/healthz").json()["release"] == good["release"]


@pytest.mark.usefixtures("buckets")
def test_a_new_attempt_is_tried_again(api: Api) -> None:
    """The same release with a higher attempt is taken up once its cause is fixed."""
    droplet = node(api)
    missing = f"environments/{'0' * 64}.json"
    first = upload(api, PROJECT, environment=missing)
    assert f"GET releases/{missing}: 404 NoSuchKey" in settled(api, droplet, first)["error"]
    second = upload(api, PROJECT, attempt=2)
    assert settled(api, droplet, second)["phase"] == "done"


@pytest.mark.usefixtures("buckets")
def test_a_release_is_really_there(api: Api) -> None:
    """Unpacked, built and linked in the node's folder; a project that can't be built changes nothing of that.

    What is played says so in the log. After going back, the release before serves again from what is still there: its
    artifact isn't asked for.
    """
    droplet = node(api)
    first = upload(api, PROJECT | {"mysite/settings.py": b"FIRST = 1"})
    assert settled(api, droplet, first)["phase"] == "done"
    releases, current = (disk(api, droplet) / "srv/app" / name for name in ("releases", "current"))
    assert (current / "app/mysite/settings.py").read_bytes() == b"FIRST = 1"
    assert json.loads((current / "environment.json").read_text())["wsgi"] == "w:app"
    log = (api.world.logs / f"node-{droplet['id']}.log").read_text()
    migrate = f"{first['release']}: `manage.py migrate --noinput`"
    for played in ("`uv sync --frozen --no-dev`", migrate, "`systemctl restart gunicorn.service`"):
        assert f"simulated: {played}" in log

    unlocked = upload(api, {"manage.py": b""})
    seen = settled(api, droplet, unlocked)
    assert (seen["phase"], seen["error"]) == (
        "failed",
        "app: must hold uv.lock or requirements.txt, got neither; run `uv lock` in it",
    )
    assert current.readlink().name == first["release"]
    assert {folder.name for folder in releases.iterdir()} == {first["release"]}

    second = upload(api, PROJECT | {"mysite/settings.py": b"SECOND = 1"})
    assert settled(api, droplet, second)["phase"] == "done"
    assert (current / "app/mysite/settings.py").read_bytes() == b"SECOND = 1"
    assert {folder.name for folder in releases.iterdir()} == {first["release"], second["release"]}

    api.s3().delete_object(Bucket="releases", Key=first["artifact"])
    again = first | {"attempt": 2}
    api.s3().put_object(Bucket="releases", Key="desired.json", Body=json.dumps(again))
    assert settled(api, droplet, again)["phase"] == "done"
    assert current.readlink().name == first["release"]


@pytest.mark.usefixtures("buckets")
@pytest.mark.parametrize("broken", ["missing", "of other bytes"])
def test_a_node_without_its_package_says_so_until_it_is_there(api: Api, broken: str) -> None:
    """Nothing of it runs or stays before its hash is right; once it is uploaded, the same Droplet goes to work."""
    content = package()
    digest = hashlib.sha256(content).hexdigest()
    if broken == "of other bytes":
        upload_package(api, package({"agent/config.py": b"raise SystemExit"}), digest)
    droplet = node(api, digest)
    seen = until(lambda: report(api, droplet), lambda found: found != {})
    place = f"releases/{package_key(digest)}"
    rule = "must be there, is not" if broken == "missing" else f"must have SHA-256 {digest}, got "
    assert seen | {"at": "", "error": ""} == {
        "release": "",
        "attempt": 0,
        "phase": "bootstrap",
        "healthy": False,
        "error": "",
        "at": "",
    }
    assert seen["error"].startswith(f"{place}: {rule}")
    packages = disk(api, droplet) / "usr/local/lib/web/agents"
    assert not (packages / digest).exists()
    until(lambda: report(api, droplet)["at"], lambda at: at != seen["at"])  # it tries again and again

    upload_package(api, content)
    until(lambda: report(api, droplet)["phase"], lambda phase: phase == "waiting")
    assert (packages / digest / "agent" / "follow.py").exists()


class Nobody(socketserver.TCPServer):
    """Stands where the world's proxy was: hangs up on everybody, and counts them."""

    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        self.callers = 0
        super().__init__(("127.0.0.1", port), socketserver.BaseRequestHandler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002 - its own types
        """Hang up."""
        self.callers += 1
        self.shutdown_request(request)


@pytest.mark.usefixtures("buckets")
def test_a_node_waits_for_spaces_that_are_away(api: Api) -> None:
    """A Droplet that starts while nobody answers goes on by itself once they are back, and reports no failure."""
    data = user_data(api, upload_package(api, package()))
    desired = upload(api, PROJECT)
    api.fault(kind="slow", of="droplet", seconds=1)
    vpc = api.vpc()["id"]
    droplet = api.client.droplets.create(DROPLET | {"vpc_uuid": vpc, "user_data": data})["droplet"]
    supervisor = Supervisor(api.world)
    supervisor.halt("proxy")
    try:
        with Nobody(api.world.proxy_port) as nobody:
            threading.Thread(target=nobody.serve_forever, daemon=True).start()
            until(lambda: nobody.callers, lambda count: count >= 3)
            nobody.shutdown()
    finally:
        supervisor.restart("proxy")
    until(lambda: accepts(api.world.proxy_port), bool)
    assert settled(api, droplet, desired)["phase"] == "done"
    log = (api.world.logs / f"node-{droplet['id']}.log").read_text()
    assert "start.py ended" not in log


def accepts(port: int) -> bool:
    """Whether somebody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_proxy_leads_nowhere_else(api: Api) -> None:
    """Names outside the world are refused with a text, whichever way they are asked for."""
    with api.browser() as browser:
        refused = browser.get("http://example.org/")
        assert refused.status_code == HTTPStatus.FORBIDDEN
        assert "example.org:80 is not served in this world" in refused.text
        with pytest.raises(httpx.ProxyError, match="403"):
            browser.get("https://example.org/")
        with pytest.raises(httpx.ProxyError, match="403"):
            browser.get("https://127.0.0.1:22/")


def test_a_simulated_machine_plays_whatever_the_agent_asks_of_one() -> None:
    """What it does not play would be the real thing, on this machine; the rest is asked for by what is played only."""

    def asked(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert asked(Machine) - asked(_Machine) == {"candidate_fits", "free_memory", "popen", "system"}
    assert asked(AppSteps) == asked(_Steps)
