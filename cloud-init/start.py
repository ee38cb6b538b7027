"""Starts a program of the agent's package, which it fetches from the Space `releases` unless it is here.

    start.py release|certificate|ended

The package is the one whose SHA-256 /etc/release-agent/config.json names. Without it this Droplet is of no use, and
only this program can say so: as the report nodes/<droplet id>.json, phase `bootstrap` (docs/releases.md). systemd
starts it again and again, so that a Space that is filled later is found.
"""

import datetime as dt
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

CONFIG = Path("/etc/release-agent/config.json")
PACKAGES = Path("/usr/local/lib/web/agents")
REPORTED = 3  # exit status of a start whose failure the runner knows already
PATIENCE = 90  # seconds for DNS, refused connections, 5xx, and the 403 of a key that was made just now


class StartError(Exception):
    """The package can't be had; the text is for the person who deploys."""


class Waiting(StartError):  # noqa: N818 - not an error yet
    """It can't be had yet."""


def ensure(config: Mapping[str, str], packages: Path, patience: float) -> Path:
    """Return the package's folder; fetch it if it isn't there. Raises StartError."""
    digest = config["package"]
    packages.mkdir(parents=True, exist_ok=True)
    with (packages / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two services start at the same time
        for left in packages.glob("tmp*"):
            shutil.rmtree(left)  # of a start that was killed
        if not (packages / digest).exists():
            with tempfile.TemporaryDirectory(dir=packages) as folder:
                fetch(config, Path(folder), patience)
                new = Path(folder, "package")
                # A folder that is there is whole, whenever the power goes away. Not os.sync(): it writes all there is.
                subprocess.run(["sync", new, *new.rglob("*")], check=True)
                new.rename(packages / digest)
    return packages / digest


def fetch(config: Mapping[str, str], folder: Path, patience: float) -> None:
    """Download the package into a folder and unpack it there as `package`, once its hash is right."""
    digest = config["package"]
    key = f"agents/{digest}.tar"
    file = folder / "package.tar"
    end = time.monotonic() + patience
    pause = 0.5
    while True:
        try:
            download(config, key, file)
            break
        except Waiting as error:
            if time.monotonic() > end:
                raise StartError(f"{error}, for {patience:.0f} s") from None
        time.sleep(pause)
        pause = min(2 * pause, 8)
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != digest:
        name = f"{config['releases_bucket']}/{key}"
        raise StartError(f"{name}: must have SHA-256 {digest}, got {found}; delete it, then run `pulumi up`")
    with tarfile.open(file, mode="r:") as archive:
        archive.extractall(folder / "package", filter="data")
    (folder / "package").chmod(0o755)


def download(config: Mapping[str, str], key: str, file: Path) -> None:
    """Fetch an object once; raises Waiting when another try may do."""
    name = f"{config['releases_bucket']}/{key}"
    status, error = curl(config, config["releases_bucket"], key, "--output", str(file))
    if status == "200" and not error:
        return
    if status == "404" and not error:
        raise StartError(f"{name}: must be there, is not; run `pulumi up`, which uploads it again")
    problem = f"{name}: could not be read, {error or f'Spaces answered {status}'}"
    raise Waiting(problem) if error or status in {"403", "429"} or status >= "5" else StartError(problem)


def curl(config: Mapping[str, str], bucket: str, key: str, *options: str, body: str = "") -> tuple[str, str]:
    """Make a signed request; return the status, or why there was none. The key comes by a pipe, not as an argument."""
    host = config["endpoint"].removeprefix("https://")
    user = f"{config['access_key']}:{config['secret_key']}".replace("\\", "\\\\").replace('"', '\\"')
    settings = f'user = "{user}"\naws-sigv4 = "aws:amz:{config["region"]}:s3"\n'
    command = ["curl", "--disable", "--config", "-", "--silent", "--show-error", "--write-out", "%{http_code}"]
    # Not every curl that signs says this by itself, and S3 wants to hear it.
    command += ["--header", f"x-amz-content-sha256: {hashlib.sha256(body.encode()).hexdigest()}"]
    command += ["--connect-timeout", "10", "--max-time", "60", *options, f"https://{bucket}.{host}/{key}"]
    done = subprocess.run(command, input=settings, capture_output=True, text=True, check=False)
    return done.stdout[-3:], done.stderr.strip() if done.returncode else ""


def report(config: Mapping[str, str], droplet_id: str, error: str) -> None:
    """Tell the runner why nothing happens here."""
    at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    document = {"release": "", "attempt": 0, "phase": "bootstrap", "healthy": False, "error": error, "at": at}
    body = json.dumps(document)
    put = ["--request", "PUT", "--header", "content-type: application/json", "--data-binary", body]
    curl(config, config["state_bucket"], f"nodes/{droplet_id}.json", "--output", os.devnull, *put, body=body)


def metadata_id() -> str:
    """Return this Droplet's id."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open("http://169.254.169.254/metadata/v1/id", timeout=5) as answer:
        text: str = answer.read().decode()
    return text.strip()


def package(
    config: Mapping[str, str],
    droplet_id: Callable[[], str] = metadata_id,
    packages: Path = PACKAGES,
    patience: float = PATIENCE,
) -> Path:
    """Return the package's folder, or report why there is none and end."""
    try:
        return ensure(config, packages, patience)
    except (StartError, OSError, tarfile.TarError) as error:
        report(config, droplet_id(), str(error))
        sys.stderr.write(f"{error}\n")
        sys.exit(REPORTED)


def ended(config: Mapping[str, str], result: str, status: str) -> None:
    """Report an end of the agent that nobody asked for, once it has ended: ExecStopPost= of its unit."""
    if result != "success" and status != str(REPORTED):
        command = ["journalctl", "--unit=release-agent.service", "--lines=20", "--output=cat", "--no-pager"]
        journal = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False).stdout
        # As long as an error of the agent: an argument has a limit.
        report(config, metadata_id(), f"release-agent.service ended with {result}\n{journal[-6000:]}")


def main() -> None:
    """Become the program that the first argument names; `ended` is systemd's."""
    config = json.loads(CONFIG.read_bytes())
    if sys.argv[1] == "ended":
        ended(config, os.environ["SERVICE_RESULT"], os.environ.get("EXIT_STATUS", ""))
    else:
        program = [sys.executable, "-I", str(package(config)), *sys.argv[1:]]
        os.execv(sys.executable, program)  # noqa: S606 - the package, and no shell


if __name__ == "__main__":
    main()
