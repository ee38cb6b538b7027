"""Makes this Droplet run the release that the bucket `releases` desires, and reports how far that is.

A timer starts it every few seconds; mostly it asks one cheap question and ends. So it uses the standard library only:
docs/adr/0004. It runs as root to switch releases and restart Gunicorn. Code of the app runs as the user `release`,
never as root. The documents are those of docs/releases.md.
"""

import contextlib
import datetime as dt
import fcntl
import functools
import hashlib
import hmac
import http.client
import io
import json
import mimetypes
import os
import pwd
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tarfile
import time
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any, NamedTuple

METADATA = "http://169.254.169.254/metadata/v1/"
KEPT_RELEASES = 5
TAIL = 6000  # characters of a failed program's output
HEALTH_DEADLINE = 30  # seconds; for so long a release that does not work is in front of visitors
STEP_DEADLINE = 1800  # seconds; a migration may take its time, a hanging one must end
UPLOADS_AT_ONCE = 8

# What the machine says about trust, proxies and package indexes; all else of root's environment stays out.
INHERITED = re.compile(r"UV_\w+|PIP_INDEX_URL|[A-Z]+_(CERT_FILE|CERT_DIR|CA_BUNDLE|PROXY)")

# Variables whose values may be read in an error's text. Everything else is taken for a secret.
PUBLIC = re.compile(
    r"DJANGO_SETTINGS_MODULE|ALLOWED_HOSTS|CSRF_TRUSTED_ORIGINS|STATIC_(URL|ROOT)|RELEASE|AWS_STORAGE_BUCKET_NAME"
    r"|PGSSL\w+|AWS_S3_\w+|AWS_(REQUEST|RESPONSE)_CHECKSUM_\w+|DJANGO_SUPERUSER_(USERNAME|EMAIL)"
)
# Asked of Django, because a project may have its own opinion about both.
STATIC_SETTINGS = """
import json, django
django.setup()
from django.conf import settings
print(json.dumps([str(settings.STATIC_ROOT), settings.STATIC_URL]))
"""
# An error shows its traceback; any other answer (a login, a redirect, not found) is the app's affair.
FIRST_PAGE = """
import sys, django
django.setup()
from django.test import Client
status = Client().get("/", secure=True, HTTP_HOST=sys.argv[1]).status_code
sys.exit(f"the first page answered {status}" if status >= 500 else 0)
"""
SHORTEST_SECRET = 6  # characters; replacing shorter texts would make a message unreadable


class AgentError(Exception):
    """The release can't go on; the text is for the person who deploys it."""


class SpacesError(AgentError):
    """Spaces refused, or could not be reached."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """/etc/release-agent/config.json, written by cloud-init."""

    region: str
    endpoint: str
    domain: str
    releases_bucket: str
    state_bucket: str
    assets_bucket: str
    access_key: str
    secret_key: str


@dataclass(frozen=True, kw_only=True)
class Desired:
    """What desired.json asks for; `attempt` tells a repeated wish from an answered one."""

    release: str
    artifact: str
    sha256: str
    environment: str
    attempt: int

    @classmethod
    def parse(cls, body: bytes) -> "Desired":
        """Check every field: names in here become paths on this machine."""
        document = json.loads(body)
        if not isinstance(document, dict):
            raise AgentError(f"desired.json: must be an object, got {type(document).__name__}")
        digest = "[0-9a-f]{64}"
        rules = {
            "release": "[0-9a-f]{8}-[0-9a-f]{8}",
            "artifact": rf"artifacts/{digest}\.tar",
            "sha256": digest,
            "environment": rf"environments/{digest}\.json",
        }
        if unknown := document.keys() - {*rules, "attempt"}:
            raise AgentError(f"desired.json: has unknown fields: {', '.join(sorted(unknown))}")
        for name, rule in rules.items():
            value = document.get(name)
            if not isinstance(value, str) or not re.fullmatch(rule, value):
                raise AgentError(f"desired.json.{name}: must match {rule}, got {value!r}")
        attempt = document.get("attempt")
        if type(attempt) is not int:
            raise AgentError(f"desired.json.attempt: must be a whole number, got {attempt!r}")
        return cls(attempt=attempt, **{name: document[name] for name in rules})


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A release's settings; `release_env` is for the release step only and never reaches the disk."""

    wsgi: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    release_env: Mapping[str, str] = field(default_factory=dict)
    database_ca: str = ""
    python: str = ""  # a version for uv to find or download; none: the Droplet's own

    @classmethod
    def parse(cls, body: bytes, key: str) -> "Environment":
        """Check that it is the document that the release was made with."""
        if key != f"environments/{hashlib.sha256(body).hexdigest()}.json":
            raise AgentError(f"{key}: its content does not have this hash; upload it again with `pulumi up`")
        try:
            found = cls(**json.loads(body))
            texts = {
                "wsgi": found.wsgi,
                "database_ca": found.database_ca,
                "python": found.python,
                **found.env,
                **found.release_env,
            }
        except (ValueError, TypeError) as error:
            raise AgentError(f"{key}: must have the fields of docs/releases.md: {error}") from error
        for name, value in texts.items():
            if not isinstance(value, str) or "\0" in value:
                raise AgentError(f"{key}: {name}: must be text, got {type(value).__name__}")
        return found

    def secrets(self) -> dict[str, str]:
        """Return text that must not be shown -> what is shown in its place."""
        found: dict[str, str] = {}
        for name, value in [*self.env.items(), *self.release_env.items()]:
            if PUBLIC.fullmatch(name):
                continue
            # Line by line too: of a key in PEM an error may show a part.
            found |= dict.fromkeys([value, *value.splitlines()], f"[{name}]")
            with contextlib.suppress(ValueError):  # not a URL
                if password := urllib.parse.urlsplit(value).password:
                    found[password] = found[urllib.parse.unquote(password)] = "[password]"
        return {text: shown for text, shown in found.items() if len(text) >= SHORTEST_SECRET}


@dataclass(frozen=True, kw_only=True)
class State:
    """What this machine knows from one run to the next: state.json."""

    release: str = ""  # none yet
    attempt: int = 0
    phase: str = "waiting"
    healthy: bool = False
    error: str | None = None
    at: str = ""
    good: str = ""  # the release that was last found healthy here
    etag: str = ""  # of the desired.json that this is the answer to; empty while the answer is not complete
    reported: bool = False

    def report(self) -> dict[str, Any]:
        """Return the document nodes/<droplet id>.json."""
        return {name: value for name, value in asdict(self).items() if name not in {"good", "etag", "reported"}}


def redacted(text: str, secrets: Mapping[str, str]) -> str:
    """Return the text without secrets; the longest first, because one may hold another."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, secrets[secret])
    return text


def brief(text: str) -> str:
    """Return the first line, which says what failed, and the last ones, where programs say why."""
    first, _, rest = text.strip().partition("\n")
    return f"{first}\n{rest[-TAIL:]}".rstrip()


def signed_headers(
    *, method: str, host: str, target: str, headers: Mapping[str, str], body: bytes, config: Config, now: dt.datetime
) -> dict[str, str]:
    """Return the headers of a request, signed by AWS Signature Version 4.

    `target` is the path and query as sent. Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """
    digest = hashlib.sha256(body).hexdigest()
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    sent = {name.lower(): value for name, value in headers.items()}
    sent |= {"host": host, "x-amz-date": moment, "x-amz-content-sha256": digest}
    names = ";".join(sorted(sent))
    path, _, query = target.partition("?")
    lines = [method, path, "&".join(sorted(query.split("&"))), *(f"{name}:{sent[name]}" for name in sorted(sent))]
    canonical = "\n".join([*lines, "", names, digest])
    scope = f"{moment[:8]}/{config.region}/s3/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = b"AWS4" + config.secret_key.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    credential = f"Credential={config.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return sent | {"authorization": f"AWS4-HMAC-SHA256 {credential}"}


class Answer(NamedTuple):
    """One answer of Spaces; 304 and 404 are answers too."""

    status: int
    etag: str
    body: bytes


class Spaces:
    """The few S3 requests that the agent makes, over one connection for each bucket."""

    PAUSES = (0.5, 1, 2, 4, 0)  # seconds after each try; a moment of trouble must not end a release

    def __init__(self, config: Config) -> None:
        self._config = config
        self._connections: dict[str, http.client.HTTPSConnection] = {}

    def get(self, bucket: str, key: str, *, unless: str = "") -> Answer:
        """Return an object, 304 if its ETag is still `unless`, or 404."""
        return self._request("GET", bucket, key, {200, 304, 404}, headers={"if-none-match": unless} if unless else {})

    def read(self, bucket: str, key: str) -> bytes:
        """Return an object that must exist."""
        return self._request("GET", bucket, key, {200}).body

    def put(self, bucket: str, key: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Write an object."""
        self._request("PUT", bucket, key, {200}, body=body, headers=headers)

    def list(self, bucket: str, prefix: str) -> set[str]:
        """Return all keys under a prefix."""
        keys: set[str] = set()
        query = {"list-type": "2", "prefix": prefix}
        while True:
            # Not input from strangers: our own bucket, over TLS.
            page = ET.fromstring(self._request("GET", bucket, "", {200}, query=query).body)  # noqa: S314
            keys.update(element.text or "" for element in page.iterfind("{*}Contents/{*}Key"))
            token = page.findtext("{*}NextContinuationToken")
            if not token:
                return keys
            query["continuation-token"] = token

    def _request(
        self,
        method: str,
        bucket: str,
        key: str,
        allowed: set[int],
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        host = f"{bucket}.{urllib.parse.urlsplit(self._config.endpoint).netloc}"
        target = "/" + urllib.parse.quote(key, safe="/~")
        if query:
            target += "?" + "&".join(f"{name}={urllib.parse.quote(query[name], safe='~')}" for name in sorted(query))
        if host not in self._connections:
            self._connections[host] = http.client.HTTPSConnection(host, timeout=30, context=trust())
        connection = self._connections[host]
        problem = ""
        for pause in self.PAUSES:
            sent = signed_headers(
                method=method, host=host, target=target, headers=headers or {}, body=body, config=self._config,
                now=dt.datetime.now(dt.UTC),
            )  # fmt: skip
            try:
                connection.request(method, target, body=body or None, headers=sent)
                response = connection.getresponse()
                answer = Answer(response.status, response.getheader("etag", ""), response.read())
            except (OSError, http.client.HTTPException) as error:
                connection.close()  # the next request opens it again
                problem = f"{type(error).__name__}: {error}"
            else:
                if answer.status in allowed:
                    return answer
                code = re.search(rb"<Code>(\w+)", answer.body)
                problem = f"{answer.status} {(code[1] if code else answer.body[:200]).decode(errors='replace')}"
                if answer.status < 500 and answer.status != http.HTTPStatus.TOO_MANY_REQUESTS:  # noqa: PLR2004
                    break
            time.sleep(pause)
        raise SpacesError(f"{method} {bucket}/{key}: {problem}")


@functools.cache
def trust() -> ssl.SSLContext:
    """Read the machine's authorities, once: it takes longer than a request."""
    return ssl.create_default_context()


class Machine:
    """Where things are, and who runs them."""

    def __init__(self, root: Path = Path("/"), user: str = "release") -> None:
        self.user = user
        self.releases = root / "srv/app/releases"  # one folder per release: app, venv, static, environment.json
        self.current = root / "srv/app/current"  # the link to the release that serves
        self.state = root / "var/lib/release-agent/state.json"
        self.home = root / "srv/app/cache"  # of the user `release`
        self.pythons = root / "srv/app/pythons"  # those that uv downloads
        self.database_ca = root / "etc/release-agent/database-ca.crt"  # DATABASE_URL names it

    @contextlib.contextmanager
    def acting_as_user(self) -> Iterator[None]:
        """Touch files as the user `release`, so that no link of its making leads root astray."""
        account = pwd.getpwnam(self.user)
        os.setgroups([])
        os.setegid(account.pw_gid)
        os.seteuid(account.pw_uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)

    def run(self, command: list[str], *, directory: Path, environment: Mapping[str, str]) -> str:
        """Run code of the app as the user `release` in a clean environment; return what it printed."""
        inherited = {name: value for name, value in os.environ.items() if INHERITED.fullmatch(name)}
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=inherited | {"HOME": str(self.home), "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"} | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            umask=0o022,
            user=self.user,
            group=self.user,
            extra_groups=[],
        )
        # A program given with -c is not what an error should begin with.
        name = " ".join([Path(command[0]).name, *("…" if "\n" in part else part for part in command[1:])])
        try:
            output, _ = process.communicate(timeout=STEP_DEADLINE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            raise AgentError(f"`{name}` did not end within {STEP_DEADLINE} s\n{output}") from None
        if process.returncode != 0:
            raise AgentError(f"`{name}` ended with status {process.returncode}\n{output}")
        return output

    def systemctl(self, *arguments: str) -> None:
        """Ask systemd for something; its own words say what went wrong."""
        result = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise AgentError(f"`systemctl {' '.join(arguments)}` ended with {result.returncode}\n{result.stderr}")


def health(domain: str, release: str) -> str | None:
    """Return why the release does not serve.

    /healthz through Nginx must name it, /readyz reach the database, and the first page must not be an error of the
    app's own: whatever else it says (a login, a redirect, not found) is its affair.
    """
    socket = ["--unix-socket", "/run/gunicorn.sock"]
    visitor = [*socket, "--header", f"Host: {domain}", "--header", "X-Forwarded-Proto: https"]
    for path, options in (("/healthz", []), ("/readyz", socket), ("/", visitor)):
        command = ["curl", "-sS", "--max-time", "10", "--write-out", "\n%{http_code}", *options]
        command.append(f"http://127.0.0.1{path}")
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        body, _, status = result.stdout.rpartition("\n")
        if result.returncode != 0:
            return f"{path}: {result.stderr.strip()}"
        if status >= "500" or (path != "/" and status != "200"):
            return f"{path}: answered {status} {body[:500]}"
        if path == "/healthz" and f'"{release}"' not in body:
            return f"{path}: must name release {release}, got {body[:200]}"
    return None


def unpack(file: IO[bytes], target: Path) -> None:
    """Unpack an archive; the `data` filter refuses what would leave the target."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            archive.extractall(target, filter="data")
    except tarfile.TarError as error:
        raise AgentError(f"artifact: must be a tar archive without paths that leave it: {error}") from error


def manifest_names(static: Path) -> set[str]:
    """Return the hashed names that pages of this release refer to."""
    try:
        return set(json.loads((static / "staticfiles.json").read_bytes())["paths"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AgentError(
            "STATIC_ROOT/staticfiles.json: must be written by collectstatic for files on the CDN; set "
            "STORAGES['staticfiles'] to django.contrib.staticfiles.storage.ManifestStaticFilesStorage, or STATIC_URL "
            f"to /static/, and this Droplet serves them ({type(error).__name__}: {error})"
        ) from error


def content_type(name: str) -> str:
    """Return the media type, as browsers insist on."""
    mimetypes.add_type("font/woff2", ".woff2")  # known to Python from 3.14 on
    guessed, encoding = mimetypes.guess_type(name)
    if guessed is None or encoding is not None:
        return "application/octet-stream"
    return guessed + ("; charset=utf-8" if guessed.startswith("text/") else "")


def write(path: Path, text: str, mode: int) -> None:
    """Replace a file in one step, whenever the power goes away; it never has wider permissions."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def log(text: str) -> None:
    """Write to the journal."""
    print(text, flush=True)  # noqa: T201 - the journal is the reader


@dataclass(kw_only=True)
class Agent:
    """One look at the bucket, and what follows from it."""

    machine: Machine
    spaces: Spaces
    config: Config
    droplet_id: Callable[[], str]
    health: Callable[[str], str | None]
    state: State = field(default_factory=State)
    desired: Desired = field(init=False)
    environment: Environment = field(default_factory=Environment)

    def run(self) -> None:
        """Answer desired.json, unless that has been done."""
        self.recall()
        answer = self.ask()
        if answer.status == http.HTTPStatus.NOT_FOUND:
            if not (self.state.reported and self.state.phase == "waiting"):
                self.remember(State(good=self.state.good))
        elif answer.status == http.HTTPStatus.OK:
            self.answer(answer)
        elif not self.state.reported:
            self.remember(self.state)

    def ask(self) -> Answer:
        """Read desired.json, unless it is the one that the state is the answer to."""
        return self.spaces.get(self.config.releases_bucket, "desired.json", unless=self.state.etag)

    def answer(self, answer: Answer) -> None:
        """Run the release, unless this attempt has an end already."""
        try:
            self.desired = desired = Desired.parse(answer.body)
        except (AgentError, ValueError) as error:
            self.remember(replace(self.state, phase="failed", healthy=False, error=str(error), etag=answer.etag))
            return
        answered = (self.state.release, self.state.attempt) == (desired.release, desired.attempt)
        if answered and self.state.phase in {"done", "failed"}:
            self.remember(replace(self.state, etag=answer.etag))
            return
        started = State(release=desired.release, attempt=desired.attempt, good=self.state.good)
        self.state = started
        name = f"{desired.release}, attempt {desired.attempt}"
        try:
            self.roll_out(answer.body)
        except (AgentError, OSError) as error:  # OSError: a full disk, above all
            secrets = {self.config.secret_key: "[agent's key]", **self.environment.secrets()}
            text = brief(redacted(str(error), secrets))
            log(f"{name}: failed\n{text}")
            self.prune()
            self.remember(replace(started, phase="failed", error=text, etag=answer.etag))
        else:
            log(f"{name}: serves")
            self.remember(replace(started, phase="done", healthy=True, good=desired.release, etag=answer.etag))
            self.prune()
            self.compile()

    @property
    def folder(self) -> Path:
        """Where this release lives."""
        return self.machine.releases / self.desired.release

    @property
    def current(self) -> str:
        """The release that is switched on now."""
        return self.machine.current.readlink().name if self.machine.current.is_symlink() else ""

    def roll_out(self, document: bytes) -> None:
        """All steps; what raises leaves the release that served before in place."""
        if self.current == self.desired.release and self.health(self.desired.release) is None:
            return
        self.phase("fetch", self.fetch)
        if not (self.folder / "built").exists():
            self.phase("build", self.build)
        self.phase("check", self.check)
        self.phase("static", self.static)
        self.phase("migrate", self.migrate)
        self.phase("check", lambda: self.app("python", "-c", FIRST_PAGE, self.config.domain))
        if self.ask().body != document:
            raise AgentError("desired.json says something else by now, so this release was not switched on")
        # It is switched on already if the power went away right after that.
        previous = self.current if self.current != self.desired.release else self.state.good
        try:
            self.phase("switch", lambda: self.switch(self.desired.release))
            self.phase("health", self.wait_for_health)
        except (AgentError, OSError) as error:
            try:
                self.back_to(previous)
            except (AgentError, OSError) as second:
                raise AgentError(f"{error}\nand {previous} could not be brought back: {second}") from error
            raise

    def phase(self, name: str, step: Callable[[], object]) -> None:
        """Report and time one step."""
        self.remember(replace(self.state, phase=name))
        started = time.monotonic()
        step()
        log(f"{self.desired.release}: {name} {time.monotonic() - started:.1f} s")

    def fetch(self) -> None:
        """Environment, and the artifact unless it is here already."""
        body = self.spaces.read(self.config.releases_bucket, self.desired.environment)
        self.environment = Environment.parse(body, self.desired.environment)
        if (self.folder / "built").exists():
            return
        shutil.rmtree(self.folder, ignore_errors=True)  # of an attempt that was cut short
        artifact = self.spaces.read(self.config.releases_bucket, self.desired.artifact)
        if (digest := hashlib.sha256(artifact).hexdigest()) != self.desired.sha256:
            raise AgentError(f"{self.desired.artifact}: must have SHA-256 {self.desired.sha256}, got {digest}")
        for name in ("app", "venv", "static"):
            (self.folder / name).mkdir(parents=True)
            shutil.chown(self.folder / name, self.machine.user)
        with self.machine.acting_as_user():
            unpack(io.BytesIO(artifact), self.folder / "app")

    def build(self) -> None:
        """Make the virtual environment of the locked packages, on the Droplet's own Python or the one that is named."""
        app, venv = self.folder / "app", self.folder / "venv"
        environment = {"UV_PROJECT_ENVIRONMENT": str(venv), "VIRTUAL_ENV": str(venv)}
        if self.environment.python:
            environment |= {
                "UV_PYTHON": self.environment.python,
                "UV_PYTHON_PREFERENCE": "system",
                "UV_PYTHON_DOWNLOADS": "automatic",
                "UV_PYTHON_INSTALL_DIR": str(self.machine.pythons),
            }
        uv = "/opt/uv/bin/uv"
        if (app / "uv.lock").is_file():
            commands = [[uv, "sync", "--frozen", "--no-dev"]]
        elif (app / "requirements.txt").is_file():
            commands = [
                [uv, "venv", "--quiet", "--allow-existing", str(venv)],
                # Named, because UV_PYTHON, the Droplet's own, comes before VIRTUAL_ENV.
                [uv, "pip", "install", "--python", str(venv), "--requirement", "requirements.txt"],
            ]
        else:
            raise AgentError("app: must hold uv.lock or requirements.txt, got neither; run `uv lock` in it")
        for command in commands:
            self.machine.run(command, directory=app, environment=environment)
        if not (venv / "bin" / "gunicorn").exists():
            raise AgentError("app: gunicorn must be one of its dependencies; run `uv add gunicorn` in it")
        # "built" must never be there without the files that it speaks of, whenever the power goes away.
        subprocess.run(["sync", "--file-system", self.folder], check=True)
        (self.folder / "built").touch()

    def compile(self) -> None:
        """Compile what the release step did not import, for Gunicorn, whose user can't write; nobody waits for it.

        What does not compile may be a template or a test's data: when the app imports it, `check` has said so.
        """
        python = str(self.folder / "venv/bin/python")
        with contextlib.suppress(AgentError):
            command = ["nice", "-n", "19", python, "-m", "compileall", "-q", "../venv/lib", "."]
            self.machine.run(command, directory=self.folder / "app", environment={})

    def settings(self) -> dict[str, str]:
        """Return the variables that the app is started with."""
        release = {"RELEASE": self.desired.release, "STATIC_ROOT": str(self.folder / "static")}
        return {**self.environment.env, **release}

    def app(self, *command: str, unless: str = "") -> str | None:
        """Run a program of the release as the release step; None when it failed with the words `unless`."""
        binaries = self.folder / "venv" / "bin"
        try:
            return self.machine.run(
                [str(binaries / command[0]), *command[1:]],
                directory=self.folder / "app",
                environment={"PATH": f"{binaries}:/usr/bin:/bin", **self.settings(), **self.environment.release_env},
            )
        except AgentError as error:
            if unless and re.search(unless, str(error)):
                return None
            raise

    def check(self) -> None:
        """Refuse, before anything is changed, what could not serve."""
        if self.environment.database_ca:
            write(self.machine.database_ca, self.environment.database_ca, 0o644)
        self.app("python", "manage.py", "check", "--deploy")
        self.app("gunicorn", "--check-config", "--config", "/etc/gunicorn/gunicorn.conf.py", self.environment.wsgi)

    def static(self) -> None:
        """Collect static files, then bring them to where STATIC_URL leads."""
        command = ("python", "manage.py", "collectstatic", "--noinput", "--verbosity", "0")
        if self.app(*command, unless="Unknown command: 'collectstatic'") is None:
            return  # the app has no static files
        answer = self.app("python", "-c", STATIC_SETTINGS) or ""
        try:
            root, url = json.loads(answer.splitlines()[-1])  # the app may print, too
        except (ValueError, IndexError) as error:
            raise AgentError(f"STATIC_ROOT and STATIC_URL: could not be read from the settings\n{answer}") from error
        if url.startswith("/"):
            self.serve_static(Path(os.path.normpath(root)))
        else:
            with self.machine.acting_as_user():
                self.publish_static(Path(root))

    def serve_static(self, root: Path) -> None:
        """Let Nginx find the files where it looks for them: the app did not ask for the CDN."""
        if not root.is_relative_to(self.folder):
            raise AgentError(f"STATIC_ROOT: must be below the project or the variable STATIC_ROOT, got {root}")
        static = self.folder / "static"
        if root != static and not static.is_symlink():
            static.rmdir()
            static.symlink_to(root)

    def publish_static(self, root: Path) -> None:
        """Upload the files whose hashed names are new; none is ever replaced or deleted."""
        names = manifest_names(root)
        there = self.spaces.list(self.config.assets_bucket, "static/")
        missing = sorted(name for name in names if f"static/{name}" not in there)
        parts = [missing[start::UPLOADS_AT_ONCE] for start in range(UPLOADS_AT_ONCE)]
        with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
            list(pool.map(lambda part: self.upload(root, part), parts))
        log(f"{self.desired.release}: {len(missing)} of {len(names)} static files uploaded")

    def upload(self, root: Path, names: list[str]) -> None:
        """Upload static files; a name changes with its content, so it may be kept for ever."""
        spaces = Spaces(self.config)  # a thread has its own connection
        for name in names:
            headers = {
                "cache-control": "public,max-age=31536000,immutable",
                "content-type": content_type(name),
                "x-amz-acl": "public-read",
            }
            try:
                body = (root / name).read_bytes()
                spaces.put(self.config.assets_bucket, f"static/{name}", body, headers)
            except SpacesError as error:
                raise AgentError(f"{error}; the agent's key must be allowed to, or see docs/releases.md") from error

    def migrate(self) -> None:
        """Bring the database to this release; make the first administrator, once."""
        self.app("python", "manage.py", "migrate", "--noinput")
        if "DJANGO_SUPERUSER_PASSWORD" in self.environment.release_env:
            fine = "is already taken|Unknown command: 'createsuperuser'"
            self.app("python", "manage.py", "createsuperuser", "--noinput", unless=fine)

    def switch(self, release: str) -> None:
        """Point `current` at a release in one step, and restart Gunicorn behind its socket."""
        folder = self.machine.releases / release
        if release == self.desired.release:
            settings = {"wsgi": self.environment.wsgi, "env": self.settings()}
            write(folder / "environment.json", json.dumps(settings), 0o600)
        link = self.machine.current.with_name("next")
        link.unlink(missing_ok=True)
        link.symlink_to(folder)
        link.replace(self.machine.current)
        # An earlier failure must not stop this start.
        self.machine.systemctl("reset-failed", "gunicorn.socket", "gunicorn.service")
        self.machine.systemctl("start", "gunicorn.socket")
        try:
            self.machine.systemctl("restart", "gunicorn.service")
        except AgentError as error:
            raise AgentError(f"{error}\n{self.journal()}") from error

    def wait_for_health(self) -> None:
        """Poll until the release serves."""
        deadline = time.monotonic() + HEALTH_DEADLINE
        while (problem := self.health(self.desired.release)) is not None:
            if time.monotonic() > deadline:
                raise AgentError(f"not healthy within {HEALTH_DEADLINE} s: {problem}\n{self.journal()}")
            time.sleep(0.25)

    def back_to(self, previous: str) -> None:
        """Let the release that served before serve again; without one, nothing serves."""
        log(f"{self.desired.release}: back to {previous or 'nothing'}")
        if previous:
            self.switch(previous)
        else:
            self.machine.systemctl("stop", "gunicorn.socket", "gunicorn.service")
            self.machine.current.unlink(missing_ok=True)

    def journal(self) -> str:
        """Return Gunicorn's last words."""
        command = ["journalctl", "--unit=gunicorn.service", "--lines=40", "--output=cat", "--no-pager"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def prune(self) -> None:
        """Remove what was not built to its end, and all but the last few releases, failed ones included."""
        folders = sorted(self.machine.releases.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
        for age, folder in enumerate(folders):
            useless = age >= KEPT_RELEASES or not (folder / "built").exists()
            if useless and folder.name not in {self.current, self.state.good}:
                shutil.rmtree(folder)

    def recall(self) -> None:
        """Read what an earlier run kept; without it everything is looked at again."""
        try:
            self.state = State(**json.loads(self.machine.state.read_bytes()))
        except FileNotFoundError:
            self.state = State()
        except (ValueError, TypeError) as error:
            log(f"{self.machine.state}: starting without it: {error}")

    def remember(self, state: State) -> None:
        """Keep the state, and tell the runner; what can't be told now is told by a later run."""
        at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self.keep(replace(state, at=at, reported=False))
        try:
            body = json.dumps(self.state.report()).encode()
            key = f"nodes/{self.droplet_id()}.json"
            self.spaces.put(self.config.state_bucket, key, body, {"content-type": "application/json"})
        except (OSError, SpacesError) as error:
            log(f"the report has to wait: {error}")
        else:
            self.keep(replace(self.state, reported=True))

    def keep(self, state: State) -> None:
        """Keep the state; a full disk must not keep the runner from hearing of it."""
        self.state = state
        try:
            write(self.machine.state, json.dumps(asdict(state)), 0o600)
        except OSError as error:
            log(f"{self.machine.state}: {error}")


def metadata(name: str) -> str:
    """Ask the metadata service, which only root may; https://docs.digitalocean.com/reference/api/metadata/."""
    with urllib.request.urlopen(METADATA + name, timeout=5) as answer:  # noqa: S310 - a constant http URL
        text: str = answer.read().decode()
        return text.strip()


def main() -> int:
    """One run. Spaces not answering is no failed unit; the next run tries again."""
    config = Config(**json.loads(Path("/etc/release-agent/config.json").read_bytes()))
    machine = Machine()
    with (machine.state.parent / "lock").open("w") as lock:  # systemd starts one; a person may start another
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            Agent(
                machine=machine,
                spaces=Spaces(config),
                config=config,
                droplet_id=functools.partial(metadata, "id"),
                health=functools.partial(health, config.domain),
            ).run()
        except SpacesError as error:
            log(f"Spaces: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
