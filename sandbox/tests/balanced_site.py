"""Two Droplets behind a load balancer of a full world, what runs on them, and what a visitor does."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.machines.machine import Machine
from sandbox.tests.test_world_full import Api
from sandbox.world.world import World
from tests.commands import run
from tests.internet_side import python

DOMAIN = "shop.example"
CHECK = {"check_interval_seconds": 3, "response_timeout_seconds": 3, "healthy_threshold": 2, "unhealthy_threshold": 2}
WORKERS = 4  # visitors at a time, half of them over a connection that is kept
LOAD = "answer = load(given['domain'], given['stop'], given['workers'])"
DETECTED = 15.0  # seconds in which a member that fails is out, at most
EVERYBODY = {"addresses": ["0.0.0.0/0", "::/0"]}
# At port 80 a site that says who serves and what it was told; at port 81 a server that reads a line of PROXY first.
SERVER = """
import http.server, json, socket, socketserver, threading, time

class Site(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/slow":
            time.sleep(3)
        said = {"host": socket.gethostname(), "headers": {k.lower(): v for k, v in self.headers.items()}}
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass

class Proxied(socketserver.StreamRequestHandler):
    def handle(self):
        line = self.rfile.readline()
        self.wfile.write(line)
        self.rfile.read()

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

class Lines(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

threading.Thread(target=Lines(("", 81), Proxied).serve_forever, daemon=True).start()
Server(("", 80), Site).serve_forever()
"""
USER_DATA = "#cloud-config\n" + json.dumps(
    {
        "write_files": [{"path": "/root/server.py", "content": SERVER}],
        "runcmd": [["systemd-run", "--unit=site", "--collect", "python3", "/root/server.py"]],
    }
)

# What a visitor does. `ask` answers with the certificate, too; `load` asks until a file is there, over connections that
# are new each time and over one that is kept, and counts who answered and what was lost.
VISITOR = """
import http.client, socket, threading

trust = ssl.create_default_context()

def connect(host, port, context=None):
    return http.client.HTTPSConnection(host, port, context=context or trust, timeout=10)

def get(connection, path="/", **headers):
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read().decode()

def load(host, stop, workers):
    lost, hosts, lock = [], [], threading.Lock()
    def work(kept):
        connection = connect(host, 443)
        while not os.path.exists(stop):
            try:
                status, headers, body = get(connection)
                with lock:
                    (hosts if status == 200 else lost).append(json.loads(body)["host"] if status == 200 else status)
                if not kept:
                    connection.close()
            except (OSError, http.client.HTTPException) as error:
                with lock:
                    lost.append(repr(error))
                connection.close()
            time.sleep(0.04)
    threads = [threading.Thread(target=work, args=(number % 2 == 0,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"hosts": hosts, "lost": lost}
"""


@dataclass(frozen=True, kw_only=True)
class Site:
    """Two Droplets behind a load balancer that ends TLS at 443 (Let's Encrypt) and at 8443 (uploaded, HTTP/2)."""

    api: Api
    world: World
    ids: list[int]
    machines: list[Machine]
    balancer: dict[str, Any]
    firewall: str  # its path
    uploaded: Path  # the authority of the uploaded certificate

    def visit(self, code: str, **given: object) -> Any:  # noqa: ANN401 - JSON
        """Run a visitor's piece of Python on the internet side."""
        return python(self.world, VISITOR + code, domain=DOMAIN, **given)

    def health(self) -> dict[str, str]:
        """The health of each member by its name, as `sandbox status` shows it."""
        parts = json.loads(run("sandbox", "status", "--json", home=self.world.home).stdout)["parts"]
        names = {row["name"].removeprefix("site: "): row["state"] for row in parts if row["product"] == "member"}
        return {name: state for name, state in names.items() if ": " not in name}

    def private(self, index: int) -> str:
        """The private address of a member."""
        return self.machines[index].hardware.private_ip

    def put(self, **changes: object) -> None:
        """Replace the load balancer's settings, with these changes."""
        names = ("name", "forwarding_rules", "health_check", "droplet_ids", "redirect_http_to_https")
        self.api("PUT", f"/load_balancers/{self.balancer['id']}", {n: self.balancer[n] for n in names} | changes)

    @contextmanager
    def under_load(self, tmp_path: Path) -> Iterator[Callable[[], dict[str, Any]]]:
        """Have visitors all the while; what is returned ends that, and says who answered and what was lost."""
        stop = tmp_path / "stop"
        with ThreadPoolExecutor() as pool:
            visits = pool.submit(self.visit, LOAD, stop=str(stop), workers=WORKERS)

            def result() -> dict[str, Any]:
                stop.touch()
                found: dict[str, Any] = visits.result()
                return found

            try:
                yield result
            finally:
                stop.touch()
