"""The deployed site: the same program as in the cloud, on machines that its own cloud-init installed."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from sandbox.machines import images, machine
from sandbox.machines.machine import Machine
from sandbox.parts.databases import clusters
from sandbox.parts.front import front
from tests.pulumi_stack import PulumiStack
from tests.worlds import Deployment

pytestmark = pytest.mark.full

# What cloud-init has to bring.
BROUGHT = ("usr/sbin/nginx", "usr/bin/certbot", "opt/uv", "srv/app", "etc/release-agent")


def droplet(deployed: Deployment) -> Machine:
    """The machine of the one Droplet."""
    [name] = [name for name in machine.names(deployed.world) if name.startswith("d")]
    return machine.load_machine(deployed.world, name)


def cluster(deployed: Deployment) -> Machine:
    """The machine of the database cluster."""
    [name] = [name for name in machine.names(deployed.world) if name.startswith("c")]
    return machine.load_machine(deployed.world, name)


def curl(deployed: Deployment, *argv: str, check: bool = True) -> str:
    """Run curl on the internet side and return what it printed."""
    return deployed.exec("curl", "--silent", "--show-error", "--max-time", "20", *argv, check=check).stdout


def status_of(deployed: Deployment, url: str) -> str:
    """HTTP status of a GET, "000" without an answer."""
    return curl(deployed, "--output", "/dev/null", "--write-out", "%{http_code}", url, check=False)


def readiness(deployed: Deployment) -> str:
    """HTTP status of /readyz, as the release agent asks for it."""
    asked = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "10"]
    asked += ["--unix-socket", "/run/gunicorn.sock", "http://127.0.0.1/readyz"]
    return droplet(deployed).run(asked, check=False).stdout


def headers(deployed: Deployment, *argv: str) -> dict[str, str]:
    """Headers of an answer, names in lower case."""
    lines = curl(deployed, "--output", "/dev/null", "--dump-header", "-", *argv).splitlines()
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if ":" in line)}


def poll(look: Callable[[], str], wanted: str, seconds: float = 30) -> None:
    """Wait until `look` answers what is wanted; on failure say what it answered last."""
    deadline = time.monotonic() + seconds
    while (seen := look()) != wanted:
        assert time.monotonic() < deadline, f"after {seconds} s: {seen!r}, wanted {wanted!r}"
        time.sleep(0.2)


def pooler(deployed: Deployment, command: str) -> list[dict[str, str]]:
    """Ask PgBouncer's console, as the operator of the cluster does."""
    argv = ("psql", "--csv", "-h", "/var/run/postgresql", "-p", str(clusters.POOL_PORT), "-U", "pgbouncer", "pgbouncer")
    done = cluster(deployed).run(
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *argv, "-c", command]
    )
    names, *rows = [line.split(",") for line in done.stdout.strip().splitlines()]
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_the_image_had_nothing_of_it_before_the_boot(deployed: Deployment) -> None:
    """Nginx, certbot, uv and the app come by the rendered cloud-init alone."""
    image = images.ensure("base", print)
    here = droplet(deployed)
    assert {path: (image / path).exists() for path in BROUGHT} == dict.fromkeys(BROUGHT, False)
    assert {path: (here.folder / "root" / path).exists() for path in BROUGHT} == dict.fromkeys(BROUGHT, True)
    listed = (image / "var/lib/dpkg/status").read_text()
    assert re.findall(r"^Package: (nginx|certbot|gunicorn|python3-django|uv)$", listed, re.MULTILINE) == []


def test_the_boot_was_clean(deployed: Deployment) -> None:
    """cloud-init ended with "done" and no recoverable error; no unit failed."""
    here = droplet(deployed)
    done = here.run(["cloud-init", "status", "--wait", "--format", "json"], check=False)
    status = json.loads(done.stdout)
    assert (done.returncode, status["errors"], status["recoverable_errors"]) == (0, [], {})
    assert here.run(["systemctl", "--failed", "--no-legend", "--plain"]).stdout == ""


def test_nothing_on_the_droplet_met_a_name_that_it_does_not_know(deployed: Deployment) -> None:
    """It would be said in the journal; but for journald's own words, for which tests/golden listens to it."""
    here = droplet(deployed)
    here.run(["cloud-init", "status", "--wait"])
    here.run(["journalctl", "--sync"])
    journal = here.run(["journalctl", "--output=cat"]).stdout
    assert "verify: this Droplet is ready for its first release" in journal  # it is the right journal
    unknown = r"^.*(?:unknown (?:key|section|option|directive)|failed to parse).*$"
    assert re.findall(unknown, journal, re.MULTILINE | re.IGNORECASE) == []


def test_the_page_comes_over_http2_with_a_certificate_of_the_acme_server(deployed: Deployment) -> None:
    """Verified by the world's trust bundle, issued for the domain by the local ACME server."""
    shown = curl(
        deployed,
        *("--http2", "--output", "/dev/null", "--write-out", "%{http_version} %{http_code} %{ssl_verify_result}"),
        deployed.url,
    )
    assert shown == "2 200 0"
    host = urlsplit(deployed.url).hostname
    certificate = deployed.exec(
        *("sh", "-c", f"openssl s_client -connect {host}:443 -servername {host} </dev/null 2>/dev/null"),
        *(),
    ).stdout
    issuer = subprocess.run(
        ["openssl", "x509", "-noout", "-issuer", "-ext", "subjectAltName"],
        input=certificate,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Pebble" in issuer
    assert f"DNS:{host}" in issuer


def test_plain_http_leads_to_https(deployed: Deployment) -> None:
    """80 redirects, keeps the path, and answers health checks itself."""
    host = urlsplit(deployed.url).hostname
    shown = curl(
        deployed, "--output", "/dev/null", "--write-out", "%{http_code} %{redirect_url}", f"http://{host}/a?b=c"
    )
    assert shown == f"301 {deployed.url}/a?b=c"
    assert json.loads(curl(deployed, f"http://{deployed.outputs['ip_address']}/healthz"))["status"] == "ok"


def test_health_names_the_release_of_the_outputs(deployed: Deployment) -> None:
    """What serves is what Pulumi says was released."""
    health = json.loads(curl(deployed, f"{deployed.url}/healthz"))
    assert health["release"] == PulumiStack(deployed.world).outputs()["release"]


def test_the_site_works_through_the_transaction_pool(deployed: Deployment) -> None:
    """Requests are counted by the pool, whose mode and size are those of the sizing."""
    [pool] = [row for row in pooler(deployed, "SHOW DATABASES") if row["name"] not in {"pgbouncer", "_auth"}]
    assert pool["pool_mode"] == "transaction"
    budget = deployed.outputs["connection_budget"]
    assert isinstance(budget, dict)
    assert int(pool["pool_size"]) == deployed.outputs["pool_size"]
    assert int(pool["pool_size"]) == deployed.outputs["max_connections"] - budget["reserved"]

    def transactions() -> int:
        [row] = [row for row in pooler(deployed, "SHOW STATS_TOTALS") if row["database"] == pool["name"]]
        return int(row["xact_count"])

    before = transactions()
    for _ in range(5):
        assert status_of(deployed, deployed.url) == "200"
    assert transactions() >= before + 5
    users = {row["user"] for row in pooler(deployed, "SHOW POOLS") if row["database"] == pool["name"]}
    assert users == {"app"}
    shown = cluster(deployed).run(
        [*("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "psql", "-p", str(clusters.PORT)),
         *("-U", "postgres", "-d", "postgres", "-At", "-c", "SHOW max_connections")]
    )  # fmt: skip
    assert int(shown.stdout) == deployed.outputs["max_connections"]


@pytest.fixture
def stopped_pool(deployed: Deployment) -> Iterator[Machine]:
    """The cluster's machine while its PgBouncer is stopped."""
    here = cluster(deployed)
    here.run(["systemctl", "stop", "pgbouncer"])
    yield here
    here.run(["systemctl", "start", "pgbouncer"])
    poll(lambda: readiness(deployed), "200")


def test_without_the_pool_the_site_is_not_ready(deployed: Deployment, stopped_pool: Machine) -> None:
    """Readiness fails although PostgreSQL itself answers; liveness doesn't."""
    poll(lambda: readiness(deployed), "503")
    ready = stopped_pool.run(["pg_isready", "-h", "/var/run/postgresql", "-p", str(clusters.PORT)])
    assert "accepting connections" in ready.stdout
    assert status_of(deployed, f"{deployed.url}/healthz") == "200"


def static_url(deployed: Deployment, suffix: str) -> str:
    """Address of a static file that the page names."""
    page = curl(deployed, deployed.url)
    found = re.search(rf'https://[^"\s]+\.[0-9a-f]{{12}}\.{suffix}', page)
    assert found, page
    return found[0]


def test_static_files_are_cached_by_the_cdn(deployed: Deployment) -> None:
    """Hashed names; the first request misses, the second hits, and the Space saw exactly one of them."""
    url = static_url(deployed, "svg")
    parts = urlsplit(url)
    assert parts.hostname == deployed.outputs["cdn_endpoint"]
    origin = (parts.hostname or "").replace(".cdn.", ".")
    # An origin that nobody used yet makes a cache entry of its own.
    fresh = ("--header", f"Origin: https://cache-test-{time.time_ns()}.example")
    before = front.origin_requests(deployed.world, origin, parts.path)
    first, second = headers(deployed, *fresh, url), headers(deployed, *fresh, url)
    assert (first["x-cache"], second["x-cache"]) == ("MISS", "HIT")
    assert front.origin_requests(deployed.world, origin, parts.path) == before + 1
    assert "immutable" in first["cache-control"]


def test_cors_answers_the_sites_origin_and_no_other(deployed: Deployment) -> None:
    """Exactly the site may use the font; a stranger's page may not."""
    url = static_url(deployed, "css")
    own = headers(deployed, "--header", f"Origin: {deployed.url}", url)
    assert own["access-control-allow-origin"] == deployed.url
    for origin in ("https://evil.example", deployed.url.replace("https", "http"), f"{deployed.url}.evil.example"):
        assert "access-control-allow-origin" not in headers(deployed, "--header", f"Origin: {origin}", url)


def test_the_engine_finds_nothing_to_do(deployed: Deployment) -> None:
    """A second `pulumi up` changes nothing, and `pulumi refresh` finds nothing."""
    deployed.stack("up", "--yes", "--skip-preview", "--expect-no-changes")
    deployed.stack("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    deployed.stack("up", "--yes", "--skip-preview", "--expect-no-changes")


def test_pulumi_runs_as_it_would_against_the_cloud(deployed: Deployment) -> None:
    """`sandbox exec` adds credentials, trust bundle, backend and PATH to the environment, and no endpoint."""

    def variables(text: str) -> dict[str, str]:
        return dict(line.split("=", 1) for line in text.split("\0") if "=" in line)

    inside = variables(deployed.exec("env", "--null").stdout)
    plain = variables(subprocess.run(["env", "--null"], capture_output=True, text=True, check=True).stdout)
    changed = {name for name, value in inside.items() if plain.get(name) != value} - {"_", "SHLVL"}
    assert changed <= {
        *("DIGITALOCEAN_TOKEN", "SPACES_ACCESS_KEY_ID", "SPACES_SECRET_ACCESS_KEY"),
        *("DIGITALOCEAN_ACCESS_TOKEN", "DIGITALOCEAN_CONFIG"),  # doctl's
        *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS"),
        *("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"),  # what this Ceph needs
        *("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE_FILE", "PULUMI_SKIP_UPDATE_CHECK"),
        *("PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", "PULUMI_HOME", "PATH", "SANDBOX_HOME"),
    }, changed
