"""HAProxy's configuration of a load balancer: a pure function of what the API says of it.

What is assumed of the real one: the status of the redirect; the ciphers of both policies; that a visitor's own
X-Forwarded-For comes before what is added; that checks name a member's address as the host, and speak PROXY where the
traffic does; that a request which could not be given to a member is given to another. From the documentation: the three
headers, the cookie that members don't see, no keep-alive to members by default, TLS 1.2 and 1.3, members that begin as
down, 503 without a healthy one.
"""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox.model.topology import ForwardingRule, LoadBalancer

GENERATION_PORT = 7478  # on the balancer's own loopback: says which configuration serves
CHECKED = "members"  # the backend that looks at all members; those of the rules follow it
CONNECT = 3  # seconds until a member that says nothing is given up, and another one is asked
MAX_CONNECTIONS = 4000  # a node of DigitalOcean's has 10,000
HTTP_PORT = 80
# ECDHE with an authenticated cipher, and, unless the policy is strong, what older clients of TLS 1.2 have.
STRONG = "ECDHE+AESGCM:ECDHE+CHACHA20"
DEFAULT = f"{STRONG}:ECDHE+AES:RSA+AESGCM:RSA+AES"
# Of a file of states, version 1: "show servers state" in HAProxy's management.txt.
_COLUMNS = (
    "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state "
    "bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr "
    "srv_agent_addr srv_agent_port"
)
_ALPN = {"https": "http/1.1", "http2": "h2,http/1.1"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where a balancer's files are."""

    state: Path  # how members were when the configuration changed
    socket: Path
    certificates: Path  # a folder


def render(balancer: LoadBalancer, places: Places) -> str:
    """Write the whole configuration; its first line is a digest of the rest, which HAProxy also answers on loopback."""
    parts = [*_common(balancer, places), *_checks(balancer)]
    for rule in sorted(balancer.rules, key=lambda rule: rule.entry_port):
        parts += [*_frontend(balancer, rule, places), *_backend(balancer, rule)]
    if balancer.redirects and all(rule.entry_port != HTTP_PORT for rule in balancer.rules):
        parts += ["", f"frontend http-{HTTP_PORT}", f"  bind {balancer.public_ip}:{HTTP_PORT}", _REDIRECT]
    body = "\n".join(parts) + "\n"
    digest = hashlib.sha256(body.encode()).hexdigest()[:16]
    return f"# generation {digest}\n" + body.replace("@GENERATION@", digest)


def generation_of(configuration: str) -> str:
    """Return the digest in a configuration's first line."""
    return configuration.partition("\n")[0].removeprefix("# generation ")


def states(balancer: LoadBalancer, healthy: Collection[str]) -> str:
    """Write what a new worker shall believe of members: those that aren't healthy have to pass their checks first.

    Without it HAProxy believes in all of them, after each change of the configuration.
    """
    check = balancer.health_check
    passed = check.healthy_threshold + check.unhealthy_threshold - 1  # HAProxy's count of a member that never failed
    lines = ["1", _COLUMNS]
    for member in balancer.members:
        state, count = ("2", passed) if member in healthy else ("0", 0)
        lines.append(f"0 {CHECKED} 0 {member} {member} {state} 0 1 1 0 1 0 {count} 6 0 0 0 - {check.port} - 0 0 - - 0")
    return "\n".join(lines) + "\n"


# 307 keeps the method: nothing is lost of a form that was sent to http. The port of http is left out, if it was named.
_REDIRECT = "  http-request redirect location https://%[req.hdr(host),regsub(:80$,)]%[pathq] code 307"


def _name(rule: ForwardingRule) -> str:
    return f"{rule.entry_protocol}-{rule.entry_port}"


def _is_http(rule: ForwardingRule) -> bool:
    return rule.entry_protocol != "tcp" and not rule.passthrough


def _common(balancer: LoadBalancer, places: Places) -> Iterator[str]:
    ciphers = STRONG if balancer.strong_ciphers else DEFAULT
    yield f"""\
# {balancer.name}
global
  maxconn {MAX_CONNECTIONS}
  nbthread 1
  stats socket {places.socket} mode 600 level admin expose-fd listeners
  server-state-file {places.state}
  ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
  ssl-default-bind-ciphers {ciphers}
  ssl-default-server-options ssl-min-ver TLSv1.2

defaults
  load-server-state-from-file global
  retries 3
  option redispatch 1
  timeout connect {CONNECT}s
  timeout client {balancer.idle_timeout}s
  timeout server {balancer.idle_timeout}s
  timeout http-keep-alive {balancer.idle_timeout}s
  timeout tunnel {balancer.idle_timeout}s
  mode http

frontend generation
  bind 127.0.0.1:{GENERATION_PORT}
  http-request return status 200 content-type text/plain string "@GENERATION@"
"""


def _checks(balancer: LoadBalancer) -> Iterator[str]:
    check = balancer.health_check
    yield f"backend {CHECKED}"
    if check.protocol == "tcp":
        yield "  mode tcp"
    else:
        yield "  option httpchk"
        yield f"  http-check send meth GET uri {_quoted(check.path)} ver HTTP/1.1 hdr Host %[srv_name]"
        yield "  http-check expect status 200-399"
    yield f"  timeout check {check.timeout}s"
    options = f"check inter {check.interval}s rise {check.healthy_threshold} fall {check.unhealthy_threshold}"
    options += " check-ssl verify none" if check.protocol == "https" else ""
    options += " check-send-proxy" if balancer.proxy_protocol else ""
    for member in balancer.members:
        yield f"  server {member} {member}:{check.port} {options}"


def _frontend(balancer: LoadBalancer, rule: ForwardingRule, places: Places) -> Iterator[str]:
    yield ""
    yield f"frontend {_name(rule)}"
    bind = f"  bind {balancer.public_ip}:{rule.entry_port}"
    if rule.certificate_id:
        pem = places.certificates / f"{rule.certificate_id}.pem"
        bind += f" ssl crt {pem} alpn {_ALPN[rule.entry_protocol]}"
    yield bind
    if not _is_http(rule):
        yield "  mode tcp"
    elif balancer.redirects and rule.entry_port == HTTP_PORT:
        yield _REDIRECT
    else:
        # A visitor whose connection ends with the old configuration is told so with an answer, not in between.
        yield "  option idle-close-on-response"
        yield "  option forwardfor"
        yield f"  http-request set-header X-Forwarded-Proto {'https' if rule.certificate_id else 'http'}"
        yield f"  http-request set-header X-Forwarded-Port {rule.entry_port}"
    yield f"  default_backend {_name(rule)}"


def _backend(balancer: LoadBalancer, rule: ForwardingRule) -> Iterator[str]:
    yield ""
    yield f"backend {_name(rule)}"
    yield f"  balance {'leastconn' if balancer.algorithm == 'least_connections' else 'roundrobin'}"
    sticky = balancer.cookie if _is_http(rule) else None
    if not _is_http(rule):
        yield "  mode tcp"
    else:
        yield f"  option {'http-keep-alive' if balancer.backend_keepalive else 'http-server-close'}"
    if sticky:
        name, seconds = sticky
        yield f'  cookie {_quoted(name)} insert indirect nocache attr "Max-Age={seconds}"'
    options = " send-proxy" if balancer.proxy_protocol else ""
    if _is_http(rule) and rule.target_protocol in _ALPN:
        options += f" ssl verify none alpn {_ALPN[rule.target_protocol].partition(',')[0]}"
    for member in balancer.members:
        cookie = f" cookie {_mark(balancer, member)}" if sticky else ""
        yield f"  server {member} {member}:{rule.target_port} track {CHECKED}/{member}{cookie}{options}"


def _mark(balancer: LoadBalancer, member: str) -> str:
    """Return what a visitor's cookie says of its member, without its address."""
    return hashlib.sha256(f"{balancer.id} {member}".encode()).hexdigest()[:12]


def _quoted(text: str) -> str:
    """Quote a word for HAProxy: nothing in single quotes means anything, but the quote itself."""
    return "'" + text.replace("'", "'\\''") + "'"
