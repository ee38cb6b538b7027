"""nginx's configuration for the front: which host name leads where."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

from sandbox.model.plans import SPACES_REGIONS
from sandbox.parts import acme
from sandbox.parts.spaces import ceph, gateway
from sandbox.world.world import ACME_HOST, API_HOST, CLOUD_HOST, GATEWAY, INTERNET_SIDE, SPACES_DOMAIN, World

LOOPBACK = "127.0.0.1"
API_PORT = 8080
ORIGIN_PORT = 7477  # what the CDN asks: the Spaces behind it, without TLS
GENERATION_PORT = 7476  # says which configuration serves
WAKE_PORT = 7475  # starts a region's Spaces


class CdnServer(TypedDict):
    """What the front keeps of a CDN endpoint. TTL in seconds."""

    id: str
    endpoint: str
    origin: str
    ttl: int


def render(world: World, folder: Path, servers: Iterable[CdnServer]) -> str:
    """Write the whole configuration; its first line is a digest of the rest, which nginx also answers on loopback."""
    body = _main(world, folder) + "".join(_cdn_server(server) for server in servers) + "}\n"
    digest = hashlib.sha256(body.encode()).hexdigest()[:16]
    return f"# generation {digest}\n" + body.replace("@GENERATION@", digest)


def generation_of(configuration: str) -> str:
    """Return the digest in a configuration's first line."""
    return configuration.partition("\n")[0].removeprefix("# generation ")


def _main(world: World, folder: Path) -> str:
    hosts = " ".join(f"{region}.{SPACES_DOMAIN}" for region in SPACES_REGIONS)
    bucket_hosts = " ".join(f"*.{region}.{SPACES_DOMAIN}" for region in SPACES_REGIONS)
    cdn_hosts = " ".join(f"*.{region}.cdn.{SPACES_DOMAIN}" for region in SPACES_REGIONS)
    domain = re.escape(SPACES_DOMAIN)
    gateways = "\n".join(
        rf"    ~(^|\.){region}\.{domain}$ {LOOPBACK}:{ceph.gateway_port(region)};" for region in gateway.regions(world)
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
  log_format origin escape=json '{{"at":"$time_iso8601","via":"$via","from":"$remote_addr","method":"$request_method",'
    '"host":"$host","path":"$uri","args":"$args","origin":"$http_origin","status":$status}}';
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
    default {LOOPBACK}:{WAKE_PORT};
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
    server_name {API_HOST} {CLOUD_HOST} {ACME_HOST} {hosts} {bucket_hosts} {cdn_hosts};
    return 301 https://$host$request_uri;
  }}
  server {{
    listen {LOOPBACK}:{GENERATION_PORT};
    return 200 "@GENERATION@";
  }}
  server {{
    listen {GATEWAY}:443 ssl http2;
    server_name {API_HOST} {CLOUD_HOST};
    location / {{
      proxy_read_timeout 600s;
      proxy_pass http://{LOOPBACK}:{API_PORT};
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
    listen {LOOPBACK}:{ORIGIN_PORT};
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
      proxy_pass http://{LOOPBACK}:{ORIGIN_PORT};
    }}
  }}
"""
