"""Let's Encrypt, played by Pebble on the internet side of the world: a stranger to Droplets, as the real one is.

Its validation requests meet the same Cloud Firewalls and Reserved IPs as any visitor's. Pebble keeps accounts in memory
and makes a new root at each start, so roots are collected: what an earlier Pebble issued stays trusted. And only
`sandbox up` starts it: one that came back by itself would issue certificates that nobody trusts.
"""

import hashlib
import http.client
import json
import ssl

from sandbox.model.realiser import RealiserError
from sandbox.network import inside
from sandbox.network.namespaces import INTERNET, in_namespace
from sandbox.world import certificates
from sandbox.world.supervisor import Program, Supervisor
from sandbox.world.waiting import until
from sandbox.world.world import ACME_HOST, GATEWAY, INTERNET_SIDE, World

PORT = 14000
_MANAGEMENT_PORT = 15000
_VALIDITY = 90 * 24 * 3600  # seconds, as Let's Encrypt's certificates
_DEADLINE = 20.0  # seconds


def start(world: World, supervisor: Supervisor, *, namespace: str = INTERNET, address: str = INTERNET_SIDE) -> str:
    """Start Pebble and return the PEM certificates of all roots that this world's Pebbles have had."""
    folder = world.home / "acme"
    folder.mkdir(mode=0o700, exist_ok=True)
    # Pebble serves TLS itself; the front in the router's namespace verifies it by the world's authority.
    certificate, key = certificates.issue(world, [ACME_HOST, "127.0.0.1"], folder / "server")
    configuration = {
        "pebble": {
            "listenAddress": f"{address}:{PORT}",
            "managementListenAddress": f"127.0.0.1:{_MANAGEMENT_PORT}",
            "certificate": str(certificate),
            "privateKey": str(key),
            "httpPort": 80,
            "tlsPort": 443,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            "certificateValidityPeriod": _VALIDITY,
        }
    }
    path = folder / "pebble.json"
    path.write_text(json.dumps(configuration, indent=2))
    supervisor.put(
        Program(
            name="pebble",
            command=in_namespace(namespace, ["pebble", "-config", str(path), "-dnsserver", f"{GATEWAY}:53"]),
            # Else, on purpose, each validation waits up to 15 s, and one request of twenty is refused for its nonce.
            environment={"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"},
            autorestart=False,
            priority=40,
        )
    )
    _collect(world, namespace, "intermediates")
    return "".join(_collect(world, namespace, "roots"))


def intermediates(world: World) -> list[str]:
    """PEM certificates of all intermediates that this world's Pebbles have had: servers send them, never the root."""
    return [path.read_text() for path in sorted((world.home / "acme" / "intermediates").glob("*.pem"))]


def _collect(world: World, namespace: str, kind: str) -> list[str]:
    """Keep this Pebble's certificate ("roots" or "intermediates"), and return it with those of its predecessors."""
    kept = world.home / "acme" / kind
    kept.mkdir(exist_ok=True)
    trust = ssl.create_default_context(cafile=world.ca / "ca.crt")

    def missing() -> str | None:
        connection = http.client.HTTPSConnection("127.0.0.1", _MANAGEMENT_PORT, timeout=5, context=trust)
        try:
            connection.request("GET", f"/{kind}/0")
            certificate = connection.getresponse().read()
        except OSError as error:
            return str(error)
        finally:
            connection.close()
        (kept / f"{hashlib.sha256(certificate).hexdigest()[:16]}.pem").write_bytes(certificate)
        return None

    late = f"Pebble does not answer after {_DEADLINE:.0f} s"
    log = world.logs / "pebble.log"
    until(lambda: inside.call(namespace, missing), _DEADLINE, lambda last: RealiserError(f"{late}: {last}; see {log}"))
    return [path.read_text() for path in sorted(kept.iterdir())]
