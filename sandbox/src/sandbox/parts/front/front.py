"""The door to DigitalOcean's host names: nginx ends TLS for the API, Spaces, their CDN and the ACME server.

What is assumed of the real CDN: an object's own Cache-Control rules over the endpoint's TTL; only successes and
redirects are kept; writing is refused; a HIT or MISS is said in `X-Cache` (the real header's name depends on the
provider behind it). From the documentation ("Manage the Spaces CDN cache"): the query string is part of what is cached,
and signed URLs are never cached.
"""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from sandbox.model.plans import SPACES_REGIONS
from sandbox.model.realiser import RealiserError
from sandbox.model.topology import Topology
from sandbox.network import inside
from sandbox.network.namespaces import ROUTER, in_namespace
from sandbox.parts.front import cache
from sandbox.parts.front.configuration import GENERATION_PORT, LOOPBACK, CdnServer, generation_of, render
from sandbox.parts.spaces import gateway
from sandbox.world import certificates
from sandbox.world.locks import exclusive
from sandbox.world.supervisor import Program, Supervisor
from sandbox.world.waiting import until
from sandbox.world.world import ACME_HOST, API_HOST, CLOUD_HOST, SPACES_DOMAIN, World

_DEADLINE = 20.0  # seconds for nginx to serve a configuration


def start(world: World, supervisor: Supervisor, *, namespace: str = ROUTER) -> None:
    """Start nginx with the CDN endpoints of the last `apply`, and the helper that starts a region's Spaces."""
    folder = _folder(world)
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "namespace").write_text(namespace)
    for name in ("body", "proxy", "unused"):
        (folder / name).mkdir(exist_ok=True)
    hosts = [API_HOST, CLOUD_HOST, ACME_HOST]
    for region in SPACES_REGIONS:
        hosts += [f"{region}.{SPACES_DOMAIN}", f"*.{region}.{SPACES_DOMAIN}", f"*.{region}.cdn.{SPACES_DOMAIN}"]
    certificates.issue(world, hosts, folder / "front")
    with exclusive(folder / "lock"):
        configuration = folder / "nginx.conf"
        configuration.write_text(_render(world))
        supervisor.put(
            Program(
                name="front",
                command=in_namespace(
                    namespace, [sys.executable, "-m", "sandbox.parts.front.nginx", str(configuration)]
                ),
                priority=50,
            )
        )
        supervisor.put(
            Program(
                name="spaces-wake",
                command=in_namespace(
                    namespace, [sys.executable, "-m", "sandbox.parts.spaces.region_wake", "--home", str(world.home)]
                ),
                priority=55,
            )
        )
        _wait_served(world)


def apply(world: World, topology: Topology) -> None:
    """Serve exactly the topology's CDN endpoints; returns when that is so. Nothing happens when nothing changed."""
    servers = [
        CdnServer(id=endpoint.id, endpoint=endpoint.endpoint, origin=endpoint.origin, ttl=endpoint.ttl)
        for endpoint in topology.cdn_endpoints
    ]
    with exclusive(_folder(world) / "lock"):
        _replace(_folder(world) / "cdn.json", json.dumps(servers, indent=1))
        _reload_when_changed(world)


def purge(world: World, endpoint_id: str, files: list[str]) -> None:
    """Forget what a CDN endpoint keeps of these paths: an answer without its file is asked for anew."""
    cache.purge(_folder(world) / "cache", endpoint_id, files)


def origin_requests(world: World, host: str, path: str) -> int:
    """Count the requests that reached a Space for an object, through the CDN or directly. Host is the Space's own."""
    log = world.logs / "spaces-origin.log"
    if not log.exists():
        return 0
    entries = (json.loads(line) for line in log.read_text().splitlines())
    return sum(entry["host"] == host and entry["path"] == path for entry in entries)


def _reload_when_changed(world: World) -> None:
    folder = _folder(world)
    configuration, candidate = folder / "nginx.conf", folder / "nginx.conf.new"
    text = _render(world)
    if configuration.read_text() == text:
        return
    candidate.write_text(text)
    check = in_namespace(_namespace(world), ["nginx", "-t", "-q", "-c", str(candidate), "-e", "stderr"])
    done = subprocess.run(check, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RealiserError(f"nginx refuses {candidate}: {done.stderr.strip()}")
    candidate.rename(configuration)
    Supervisor(world).signal("front", "HUP")
    _wait_served(world)


def _wait_served(world: World) -> None:
    """Wait until new connections meet the configuration on disk: a reload is asynchronous."""
    expected = generation_of((_folder(world) / "nginx.conf").read_text())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def missing() -> str | None:
        try:
            with opener.open(f"http://{LOOPBACK}:{GENERATION_PORT}/", timeout=5) as response:
                served = str(response.read().decode())
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            return f"nothing ({error})"
        return None if served == expected else served

    late = f"after {_DEADLINE:.0f} s, expected {expected}; see {world.logs / 'front.log'}"
    namespace = _namespace(world)
    until(lambda: inside.call(namespace, missing), _DEADLINE, lambda last: RealiserError(f"nginx serves {last} {late}"))


def wake(world: World, region: str) -> None:
    """Start a region's gateway and lead requests to it."""
    gateway.start_region(world, Supervisor(world), region, namespace=_namespace(world))
    with exclusive(_folder(world) / "lock"):
        _reload_when_changed(world)


def _render(world: World) -> str:
    cdn_file = _folder(world) / "cdn.json"
    servers: list[CdnServer] = json.loads(cdn_file.read_text()) if cdn_file.exists() else []
    return render(world, _folder(world), servers)


def _folder(world: World) -> Path:
    return world.home / "front"


def _namespace(world: World) -> str:
    return (_folder(world) / "namespace").read_text()


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    part.rename(path)
