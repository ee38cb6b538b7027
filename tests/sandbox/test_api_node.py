"""A simulated node follows the release protocol, verifies what it fetches, and says what it is."""

import contextlib
import hashlib
import json
import ssl
from http import HTTPStatus

import httpx
import pytest
import yaml

from sandbox import ports
from tests.sandbox.api_client import Api, Body, archive, until

DOMAIN = "polls.example"


def upload(api: Api, files: dict[str, bytes], **changes: object) -> Body:
    """Upload an artifact and an environment, and make them the desired release."""
    packed = archive(files)
    sha256 = hashlib.sha256(packed).hexdigest()
    s3 = api.s3()
    s3.put_object(Bucket="releases", Key=f"artifacts/{sha256}.tar.gz", Body=packed)
    s3.put_object(Bucket="releases", Key="environments/0123abcd.json", Body=json.dumps({"wsgi": "w:app", "env": {}}))
    desired: Body = {
        "release": f"{sha256[:8]}-0123abcd",
        "artifact": f"artifacts/{sha256}.tar.gz",
        "sha256": sha256,
        "environment": "environments/0123abcd.json",
        "attempt": 1,
    }
    desired |= changes
    s3.put_object(Bucket="releases", Key="desired.json", Body=json.dumps(desired))
    return desired


def node(api: Api) -> Body:
    """A Droplet whose user data has the release agent's configuration."""
    grants = [{"bucket": "releases", "permission": "read"}, {"bucket": "state", "permission": "readwrite"}]
    key = api.client.spaces_key.create({"name": "agent", "grants": grants})["key"]
    config = {
        "region": "nyc3",
        "endpoint": "https://nyc3.digitaloceanspaces.com",
        "domain": DOMAIN,
        "releases_bucket": "releases",
        "state_bucket": "state",
        "assets_bucket": "assets",
        "access_key": key["access_key"],
        "secret_key": key["secret_key"],
    }
    files = [{"path": "/etc/release-agent/config.json", "permissions": "0600", "content": json.dumps(config)}]
    return api.droplet(user_data="#cloud-config\n" + yaml.safe_dump({"write_files": files}))


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
    desired = upload(api, {"manage.py": b""})
    seen = settled(api, droplet, desired)
    assert (seen["phase"], seen["healthy"], seen["error"]) == ("done", True, None)

    ip = api.client.reserved_ips.create({"region": "nyc3"})["reserved_ip"]["ip"]
    api.client.domains.create({"name": DOMAIN})
    api.client.domains.create_record(DOMAIN, {"type": "A", "name": "@", "data": ip})
    with api.browser() as browser:
        assert status(browser, f"https://{DOMAIN}/healthz") == 0  # the address leads nowhere yet
        api.assign(ip, droplet["id"])
        until(lambda: status(browser, f"https://{DOMAIN}/healthz"), lambda code: code == HTTPStatus.OK)
        expected = {"status": "ok", "release": desired["release"]}
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
    desired = upload(api, {"manage.py": b""})
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
    good = upload(api, {"manage.py": b"1"})
    assert settled(api, droplet, good)["phase"] == "done"
    bad = upload(api, {"manage.py": b"2"}, sha256="0" * 64)
    seen = settled(api, droplet, bad)
    assert (seen["phase"], seen["healthy"]) == ("failed", False)
    assert f"sha256 must be {'0' * 64}, got " in seen["error"]
    ip = droplet["networks"]["v4"][1]["ip_address"]
    with api.browser() as browser:
        assert browser.get(f"http://{ip}/healthz").json()["release"] == good["release"]


@pytest.mark.usefixtures("buckets")
def test_a_new_attempt_is_tried_again(api: Api) -> None:
    """The same release with a higher attempt is taken up once its cause is mended."""
    droplet = node(api)
    first = upload(api, {"manage.py": b""}, environment="environments/missing.json")
    assert "environments/missing.json: not in releases" in settled(api, droplet, first)["error"]
    second = upload(api, {"manage.py": b""}, attempt=2)
    assert settled(api, droplet, second)["phase"] == "done"


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
