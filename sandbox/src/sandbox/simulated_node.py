"""A simulated node: at depth `api` it plays a Droplet's release agent and health URL, not the app."""

import hashlib
import io
import json
import logging
import ssl
import sys
import tarfile
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import boto3
import click
import yaml
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sandbox import certificates, ports
from sandbox.store import Store, now
from sandbox.world import World, load

logger = logging.getLogger("sandbox.simulated_node")

_CONFIG_PATH = "/etc/release-agent/config.json"
_POLL = 0.5  # seconds
# What the real agent goes through after fetching; a simulated node only says so.
_PHASES = ("build", "check", "static", "migrate", "switch", "health")

Document = dict[str, Any]  # JSON of the release protocol, see docs/releases.md


class _ReleaseError(Exception):
    """This release can't be taken; the text goes into the node's report."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _AgentConfig:
    """What cloud-init would write for the release agent."""

    region: str
    endpoint: str
    domain: str
    releases_bucket: str
    state_bucket: str
    assets_bucket: str
    access_key: str
    secret_key: str


def agent_config(user_data: str) -> _AgentConfig | None:
    """Find the agent's configuration in a Droplet's user data; None when there is none."""
    try:
        cloud_config = yaml.safe_load(user_data)
    except yaml.YAMLError:
        return None
    files = cloud_config.get("write_files", []) if isinstance(cloud_config, dict) else []
    for file in files:
        if file.get("path") == _CONFIG_PATH:
            return _AgentConfig(**json.loads(file["content"]))
    return None


class Node:
    """Follows desired.json and reports, as the protocol says."""

    def __init__(self, world: World, droplet_id: int, config: _AgentConfig) -> None:
        self._world = world
        self._droplet_id = droplet_id
        self._config = config
        self._folder = world.run / f"node-{droplet_id}"
        self._kept_at = f"certificates/{config.domain}.json"
        self.serving: str | None = None  # the release whose id the health URL shows
        self._tried: tuple[str, int] | None = None
        self._s3 = boto3.client(
            "s3",
            endpoint_url=config.endpoint,
            region_name=config.region,
            aws_access_key_id=config.access_key,
            aws_secret_access_key=config.secret_key,
            verify=str(world.bundle),
            config=Config(
                proxies={"https": f"http://127.0.0.1:{world.proxy_port}"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"total_max_attempts": 2},
                connect_timeout=5,
                read_timeout=30,
            ),
        )

    def certificate(self, *, may_obtain: bool) -> tuple[Path, Path] | None:
        """Return certificate and key: those that the Space keeps, else, if it may, new ones, which are kept there.

        The document is a Droplet's. Simulated is the ACME server: the world's own authority issues at once.
        """
        names = [self._config.domain]
        kept = self._kept_certificate()
        if kept is None and not may_obtain:
            return None
        crt, key = self._folder / "tls.crt", self._folder / "tls.key"
        if kept:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            crt.write_text(kept["fullchain"])
            key.touch(mode=0o600)
            key.write_text(kept["privkey"])
        else:
            certificates.issue(self._world, names, self._folder / "tls")
            self._put(self._kept_at, {"fullchain": crt.read_text(), "privkey": key.read_text()})
        logger.info("the certificate for %s is %s", names[0], "the kept one" if kept else "new")
        return crt, key

    def _kept_certificate(self) -> Document | None:
        """Read the kept certificate, None when there is none that would serve."""
        content = self._object(self._kept_at, self._config.state_bucket)
        try:
            document = json.loads(content or b"")
            pair = [document[name].encode() for name in ("fullchain", "privkey")]
        except (ValueError, LookupError, TypeError, AttributeError):
            return None
        return document if certificates.is_good(self._world, [self._config.domain], *pair) else None

    def step(self) -> None:
        """Look at desired.json once, and take the release if it is new."""
        desired = self._document("desired.json")
        if desired is None:
            if self._tried is None:
                self._tried = ("", 0)
                self._report("", 0, "waiting")
            return
        wanted = (desired["release"], desired["attempt"])
        if wanted == self._tried:
            return
        self._tried = wanted
        logger.info("release %s, attempt %d", *wanted)
        try:
            self._take(desired)
        except _ReleaseError as error:
            logger.warning("release %s failed: %s", desired["release"], error)
            self._report(*wanted, "failed", error=str(error))

    def _take(self, desired: Document) -> None:
        wanted = (desired["release"], desired["attempt"])
        self._report(*wanted, "fetch")
        self._check_artifact(desired)
        self._check_environment(desired)
        for phase in _PHASES:
            self._report(*wanted, phase)
        self.serving = desired["release"]
        self._report(*wanted, "done")

    def _check_artifact(self, desired: Document) -> None:
        content = self._object(desired["artifact"], self._config.releases_bucket)
        if content is None:
            raise _ReleaseError(f"{desired['artifact']}: not in {self._config.releases_bucket}")
        found = hashlib.sha256(content).hexdigest()
        if found != desired["sha256"]:
            raise _ReleaseError(f"{desired['artifact']}: sha256 must be {desired['sha256']}, got {found}")
        try:
            with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
                names = archive.getnames()
        except tarfile.TarError as error:
            raise _ReleaseError(f"{desired['artifact']}: must be a tar archive: {error}") from error
        logger.info("artifact verified: %d files, sha256 %s", len(names), found)

    def _check_environment(self, desired: Document) -> None:
        environment = self._document(desired["environment"])
        if environment is None:
            raise _ReleaseError(f"{desired['environment']}: not in {self._config.releases_bucket}")
        missing = [name for name in ("wsgi", "env") if name not in environment]
        if missing:
            raise _ReleaseError(f"{desired['environment']}: {', '.join(missing)} missing")

    def _report(self, release: str, attempt: int, phase: str, error: str | None = None) -> None:
        body = {
            "release": release,
            "attempt": attempt,
            "phase": phase,
            "healthy": phase == "done",
            "error": error,
            "at": now(),
        }
        self._put(f"nodes/{self._droplet_id}.json", body)

    def _put(self, key: str, document: Document) -> None:
        self._s3.put_object(
            Bucket=self._config.state_bucket,
            Key=key,
            Body=json.dumps(document).encode(),
            ContentType="application/json",
        )

    def _object(self, key: str, bucket: str) -> bytes | None:
        try:
            answer = self._s3.get_object(Bucket=bucket, Key=key)
        except self._s3.exceptions.NoSuchKey:
            return None
        content: bytes = answer["Body"].read()
        return content

    def _document(self, key: str) -> Document | None:
        content = self._object(key, self._config.releases_bucket)
        if content is None:
            return None
        try:
            document = json.loads(content)
        except ValueError as error:
            raise _ReleaseError(f"{key}: must be JSON: {error}") from error
        if not isinstance(document, dict):
            raise _ReleaseError(f"{key}: must be a JSON object")
        return document


class _Health(BaseHTTPRequestHandler):
    """Answers the health URL; the rest is led from http to https, and there answered 501."""

    node: ClassVar[Node | None]
    redirect: ClassVar[str | None]  # where plain HTTP leads, without the path
    protocol_version = "HTTP/1.1"
    server_version = "simulated-node"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer GET."""
        if self.path.partition("?")[0] != "/healthz":
            if self.redirect:
                self._answer(301, "text/plain", b"", Location=self.redirect + self.path)
                return
            text = "sandbox: this is a simulated node, no app runs here; it only answers /healthz\n"
            self._answer(501, "text/plain; charset=utf-8", text.encode())
            return
        release = self.node.serving if self.node else None
        status, word = (200, "ok") if release else (503, "no release yet")
        body = json.dumps({"status": word, "release": release}).encode()
        self._answer(status, "application/json", body)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET  # noqa: N815

    def _answer(self, status: int, content_type: str, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - name of the base class
        """Log as the rest of the process does."""
        logger.info("%s", format % args)


def _listen(
    port: int, node: Node | None, *, context: ssl.SSLContext | None = None, redirect: str | None = None
) -> None:
    handler = type("Handler", (_Health,), {"node": node, "redirect": redirect})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, name=f"port-{port}", daemon=True).start()


def _has_reserved_ip(store: Store, droplet_id: int) -> bool:
    return any((ip.body["droplet"] or {}).get("id") == droplet_id for ip in store.list("reserved_ip"))


def run(world: World, droplet_id: int) -> None:
    """Play a Droplet until told to stop."""
    store = Store(world.database, read_only=True)
    droplet = store.get("droplet", droplet_id)
    if droplet is None:
        sys.exit(f"{droplet_id}: the store has no such Droplet")
    logger.info("simulated node of Droplet %d (%s): no machine, no app", droplet_id, droplet.body["name"])
    config = agent_config(droplet.private["user_data"])
    node = Node(world, droplet_id, config) if config else None
    if node is None:
        logger.info("the user data has no %s: nothing to play but a health URL without a release", _CONFIG_PATH)
    name = f"node-{droplet_id}"
    _listen(ports.reserve(world, f"{name}-http"), node, redirect=f"https://{config.domain}" if config else None)
    secure = False
    while True:
        if node:
            try:
                # As on a Droplet: the kept certificate before any report; a new one only once the address leads here.
                if not secure and (pair := node.certificate(may_obtain=_has_reserved_ip(store, droplet_id))):
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.load_cert_chain(*pair)
                    _listen(ports.reserve(world, f"{name}-https"), node, context=context)
                    secure = True
                node.step()
            except (BotoCoreError, ClientError, _ReleaseError) as error:
                logger.warning("Spaces: %s", error)
        time.sleep(_POLL)


@click.command()
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), required=True, help="Directory of the world.")
@click.option("--droplet", type=int, required=True, help="Id of the Droplet to play.")
def main(home: Path, droplet: int) -> None:
    """Play a Droplet of the world in HOME."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stdout)
    run(load(home), droplet)


if __name__ == "__main__":
    main()
