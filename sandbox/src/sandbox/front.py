"""The door to DigitalOcean's host names: nginx ends TLS for the API, Spaces, their CDN and the ACME server.

What is assumed of the real CDN: an object's own Cache-Control rules over the endpoint's TTL; only successes and
redirects are kept; writing is refused; a HIT or MISS is said in `X-Cache` (the real header's name depends on the
provider behind it). From the documentation ("Manage the Spaces CDN cache"): the query string is part of what is cached,
and signed URLs are never cached.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypedDict

from sandbox import acme, ceph, certificates, inside, spaces
from sandbox import world as worlds
from sandbox.locks import exclusive
from sandbox.network import ROUTER, in_namespace
from sandbox.plans import SPACES_REGIONS
from sandbox.realiser import RealiserError
from sandbox.supervisor import Program, Supervisor
from sandbox.topology import Topology
from sandbox.world import ACME_HOST, API_HOST, GATEWAY, INTERNET_SIDE, SPACES_DOMAIN, World

API_PORT = 8080
_LOOPBACK = "127.0.0.1"
_ORIGIN_PORT = 7477  # what the CDN asks: the Spaces behind it, without TLS
_GENERATION_PORT = 7476  # says which configuration serves
_WAKE_PORT = 7475
_DEADLINE = 20.0  # seconds for nginx to serve a configuration


class CdnServer(TypedDict):
    """What the front keeps of a CDN endpoint. TTL in seconds."""

    id: str
    endpoint: str
    origin: str
    ttl: int


def start(world: World, supervisor: Supervisor, *, namespace: str = ROUTER) -> None:
    """Start nginx with the CDN endpoints of the last `apply`, and the helper that starts a region's Spaces."""
    folder = _folder(world)
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "namespace").write_text(namespace)
    for name in ("body", "proxy", "unused"):
        (folder / name).mkdir(exist_ok=True)
    hosts = [API_HOST, ACME_HOST]
    for region in SPACES_REGIONS:
        hosts += [f"{region}.{SPACES_DOMAIN}", f"*.{region}.{SPACES_DOMAIN}", f"*.{region}.cdn.{SPACES_DOMAIN}"]
    certificates.issue(world, hosts, folder / "front")
    with exclusive(folder / "lock"):
        configuration = folder / "nginx.conf"
        configuration.write_text(_render(world))
        supervisor.put(
            Program(
                name="front",
                command=in_namespace(namespace, ["nginx", "-c", str(configuration), "-e", "stderr"]),
                priority=50,
            )
        )
        supervisor.put(
            Program(
                name="spaces-wake",
                command=in_namespace(namespace, [sys.executable, "-m", "sandbox.front", "--home", str(world.home)]),
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
    expected = _generation_of((_folder(world) / "nginx.conf").read_text())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def served() -> str:
        try:
            with opener.open(f"http://{_LOOPBACK}:{_GENERATION_PORT}/", timeout=5) as response:
                return str(response.read().decode())
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            return f"nothing ({error})"

    deadline = time.monotonic() + _DEADLINE
    while (last := inside.call(_namespace(world), served)) != expected:
        if time.monotonic() > deadline:
            log = world.logs / "front.log"
            raise RealiserError(f"nginx serves {last} after {_DEADLINE:.0f} s, expected {expected}; see {log}")
        time.sleep(0.02)


def _generation_of(configuration: str) -> str:
    return configuration.partition("\n")[0].removeprefix("# generation ")


# nginx's configuration.


def _render(world: World) -> str:
    """Write the whole configuration; its first line is a digest of the rest, which nginx also answers on loopback."""
    cdn_file = _folder(world) / "cdn.json"
    servers: list[CdnServer] = json.loads(cdn_file.read_text()) if cdn_file.exists() else []
    body = _main(world) + "".join(_cdn_server(server) for server in servers) + "}\n"
    digest = hashlib.sha256(body.encode()).hexdigest()[:16]
    return f"# generation {digest}\n" + body.replace("@GENERATION@", digest)


def _main(world: World) -> str:
    folder = _folder(world)
    hosts = " ".join(f"{region}.{SPACES_DOMAIN}" for region in SPACES_REGIONS)
    bucket_hosts = " ".join(f"*.{region}.{SPACES_DOMAIN}" for region in SPACES_REGIONS)
    cdn_hosts = " ".join(f"*.{region}.cdn.{SPACES_DOMAIN}" for region in SPACES_REGIONS)
    domain = re.escape(SPACES_DOMAIN)
    gateways = "\n".join(
        rf"    ~(^|\.){region}\.{domain}$ {_LOOPBACK}:{ceph.gateway_port(region)};" for region in spaces.regions(world)
    )
    return f"""\
user root;  # a world's folder is its owner's only, and the cache lies in it
worker_processes 2;
worker_shutdown_timeout 10s;
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 2048; }}
http {{
  server_tokens off;
  access_log off;
  log_format origin escape=json '{{"at":"$time_iso8601","via":"$via","method":"$request_method","host":"$host",'
    '"path":"$uri","args":"$args","origin":"$http_origin","status":$status}}';
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/unused;
  uwsgi_temp_path {folder}/unused;
  scgi_temp_path {folder}/unused;
  client_max_body_size 0;
  server_names_hash_bucket_size 256;
  map_hash_bucket_size 256;
  keepalive_timeout 60s;
  ssl_certificate {folder}/front.crt;
  ssl_certificate_key {folder}/front.key;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache shared:tls:1m;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Proto https;
  # An entry leaves the cache by the endpoint's TTL, not because nobody asked for it for a while.
  proxy_cache_path {folder}/cache levels=1:2 keys_zone=cdn:10m max_size=2g inactive=365d use_temp_path=off;
  map $host $gateway {{
    default {_LOOPBACK}:{_WAKE_PORT};
{gateways}
  }}
  map $upstream_cache_status $x_cache {{ default MISS; HIT HIT; STALE HIT; UPDATING HIT; }}
  # The gateway's own administration and IAM are for this world's processes, who ask it on loopback.
  map "$request_method $uri" $administration {{ default ""; "~ /admin(/|$)" 1; "POST /" 1; }}
  map $args $signed {{ default ""; "~*(^|&)(x-amz-signature|signature)=" 1; }}

  server {{
    listen {GATEWAY}:443 ssl http2 default_server;
    ssl_reject_handshake on;
  }}
  server {{
    listen {GATEWAY}:80 default_server;
    return 404;
  }}
  server {{
    listen {GATEWAY}:80;
    server_name {API_HOST} {ACME_HOST} {hosts} {bucket_hosts} {cdn_hosts};
    return 301 https://$host$request_uri;
  }}
  server {{
    listen {_LOOPBACK}:{_GENERATION_PORT};
    return 200 "@GENERATION@";
  }}
  server {{
    listen {GATEWAY}:443 ssl http2;
    server_name {API_HOST};
    location / {{
      proxy_read_timeout 600s;
      proxy_pass http://{_LOOPBACK}:{API_PORT};
    }}
  }}
  server {{
    listen {GATEWAY}:443 ssl http2;
    server_name {ACME_HOST};
    proxy_ssl_verify on;
    proxy_ssl_trusted_certificate {world.ca}/ca.crt;
    proxy_ssl_name {ACME_HOST};
    proxy_ssl_server_name on;
    location = /directory {{ proxy_pass https://{INTERNET_SIDE}:{acme.PORT}/dir; }}
    location / {{ proxy_pass https://{INTERNET_SIDE}:{acme.PORT}; }}
  }}
  server {{
    listen {GATEWAY}:443 ssl http2;
    server_name {hosts};
    set $via direct;
    if ($administration) {{ return 404; }}
{_to_gateway(world)}
  }}
  server {{
    listen {GATEWAY}:443 ssl http2;
    server_name {bucket_hosts};
    set $via direct;
{_to_gateway(world)}
  }}
  server {{
    listen {_LOOPBACK}:{_ORIGIN_PORT};
    set $via cdn;
{_to_gateway(world)}
  }}
  server {{
    listen {GATEWAY}:443 ssl http2;
    server_name {cdn_hosts};
    return 404;
  }}
"""


def _to_gateway(world: World) -> str:
    return f"""\
    access_log {world.logs}/spaces-origin.log origin;
    location / {{
      proxy_request_buffering off;
      proxy_buffering off;
      proxy_read_timeout 300s;
      proxy_pass http://$gateway;
    }}"""


def _cdn_server(server: CdnServer) -> str:
    return f"""\
  server {{
    listen {GATEWAY}:443 ssl http2;
    server_name {server["endpoint"]};
    if ($request_method !~ ^(GET|HEAD|OPTIONS)$) {{ return 405; }}
    add_header X-Cache $x_cache always;
    location / {{
      proxy_cache cdn;
      # The answer depends on Origin (CORS); the endpoint's id keeps a new endpoint from an old one's entries.
      proxy_cache_key "{server["id"]} $request_uri $http_origin";
      proxy_cache_valid 200 206 301 302 {server["ttl"]}s;
      proxy_cache_lock on;
      proxy_cache_bypass $signed $http_authorization;
      proxy_no_cache $signed $http_authorization;
      proxy_set_header Connection "";
      proxy_set_header Host {server["origin"]};
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto https;
      proxy_pass http://{_LOOPBACK}:{_ORIGIN_PORT};
    }}
  }}
"""


# Waking a region: requests for regions without a gateway come here.


class _Wake(BaseHTTPRequestHandler):
    """Starts the gateway of the region that is asked for, and asks the client to come again.

    503 SlowDown is S3's own word for that: SDKs repeat the request by themselves.
    """

    protocol_version = "HTTP/1.1"
    world: World

    def answer_any(self) -> None:
        """Answer a request of any method."""
        self._discard_body()
        host = self.headers.get("Host", "").split(":")[0]
        region = host.removesuffix(f".{SPACES_DOMAIN}").rpartition(".")[2]
        if region not in SPACES_REGIONS:
            self._answer(HTTPStatus.NOT_FOUND, "NoSuchRegion", f"{host}: no such region")
            return
        wake(self.world, region)
        text = f"Spaces in {region} have just been started; repeat the request"
        self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "SlowDown", text)

    def _discard_body(self) -> None:
        remaining = int(self.headers.get("Content-Length") or 0)
        while remaining > 0 and (chunk := self.rfile.read(min(remaining, 2**20))):
            remaining -= len(chunk)

    def _answer(self, status: HTTPStatus, code: str, text: str) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{text}</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = answer_any  # noqa: N815 - the base class's names


def wake(world: World, region: str) -> None:
    """Start a region's gateway and lead requests to it."""
    spaces.start_region(world, Supervisor(world), region, namespace=_namespace(world))
    with exclusive(_folder(world) / "lock"):
        _reload_when_changed(world)


def _folder(world: World) -> Path:
    return world.home / "front"


def _namespace(world: World) -> str:
    return (_folder(world) / "namespace").read_text()


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    part.rename(path)


def main() -> None:
    """Serve the requests for regions that don't run yet."""
    parser = argparse.ArgumentParser(description="Start the Spaces gateways of regions at their first request.")
    parser.add_argument("--home", type=Path, required=True)
    _Wake.world = worlds.load(parser.parse_args().home)
    ThreadingHTTPServer((_LOOPBACK, _WAKE_PORT), _Wake).serve_forever()


if __name__ == "__main__":
    main()
