"""What machines of a full world inherit from this one so that they reach the same package mirrors: sources, options."""

import configparser
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

DEBIAN_MIRROR = "http://deb.debian.org/debian"
DEBIAN_SECURITY_MIRROR = "http://deb.debian.org/debian-security"
GUEST_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

# Options of apt that say how a mirror is reached, not what this machine does with packages.
APT_OPTIONS = re.compile(
    r"^Acquire::(http|https)::(?!Dl-Limit)\S+|^Acquire::(Check-Valid-Until|Check-Date|Max-FutureTime|Retries|ForceIPv4)$"
)
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
# Variables that name an index or a time limit. What names a folder of this machine would be wrong on another.
VARIABLES = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_DISABLE_PIP_VERSION_CHECK",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_HTTP_TIMEOUT",
    "UV_PYTHON_INSTALL_MIRROR",
    *PROXIES,
)
# Without AWS_CA_BUNDLE: botocore takes REQUESTS_CA_BUNDLE and Go SSL_CERT_FILE, and AWS's SDK for Go 1 ends with an
# error when that is set and the program brought its own HTTP transport, as rclone before 1.68 does.
TRUST_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "timeout")


def debian_sources(suite: str, folder: Path = Path("/etc/apt")) -> list[str]:
    """One-line apt sources of a Debian suite, from the mirrors of Debian that this machine uses, else the usual."""
    mirror, security = _mirrors(folder)
    return [
        f"deb {mirror} {suite} main",
        f"deb {mirror} {suite}-updates main",
        f"deb {security} {suite}-security main",
    ]


def source_of_testing(suite: str, folder: Path = Path("/etc/apt")) -> str:
    """One-line apt source of Debian's testing suite, from the same mirror.

    Its index, unlike a stable suite's, is valid for a week. A mirror that lags, or is kept at one date, still serves
    what Debian has signed, and that is still checked.
    """
    return f"deb [check-valid-until=no] {_mirrors(folder)[0]} {suite} main"


def _mirrors(folder: Path) -> tuple[str, str]:
    """URLs of the mirror of Debian and of its security updates that this machine uses, else the usual ones."""
    urls: list[str] = []
    for path in (folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))):
        if path.suffix == ".sources" and path.is_file():
            for line in re.findall(r"(?mi)^URIs:[ \t]*(.+)$", path.read_text()):
                urls += line.split()
        elif path.suffix == ".list" and path.is_file():
            urls += re.findall(r"(?m)^deb\s+(?:\[[^\]]*\]\s+)?(\S+)", path.read_text())
    plain = [url.rstrip("/") for url in urls if url.startswith(("http://", "https://"))]
    mirror = next((url for url in plain if url.endswith("/debian")), DEBIAN_MIRROR)
    security = next((url for url in plain if url.endswith("/debian-security")), DEBIAN_SECURITY_MIRROR)
    return mirror, security


def apt_options() -> list[str]:
    """List this machine's own options for reaching mirrors, one statement each; none where there is no apt."""
    if shutil.which("apt-config") is None:
        return []
    command = ["apt-config", "dump", "--no-empty", "--format", '%F "%v";%n', "Acquire"]
    dump = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [line for line in dump.splitlines() if APT_OPTIONS.search(line.split(" ", 1)[0])]


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Environment of a machine: the trust bundle for every common client, and this machine's index settings."""
    inherited = {name: environ[name] for name in VARIABLES if name in environ and not _is_loopback(environ[name])}
    return dict.fromkeys(TRUST_VARIABLES, GUEST_BUNDLE) | inherited


def pip_configuration(home: Path) -> str:
    """Contents of a machine's /etc/pip.conf: this machine's index settings and the guest's trust bundle."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read([Path("/etc/pip.conf"), home / ".pip" / "pip.conf", home / ".config" / "pip" / "pip.conf"])
    lines = ["[global]", f"cert = {GUEST_BUNDLE}"]
    lines += [
        f"{option} = {parser.get('global', option)}" for option in PIP_OPTIONS if parser.has_option("global", option)
    ]
    return "\n".join(lines) + "\n"


def uv_configuration(home: Path) -> str | None:
    """Contents of a machine's /etc/uv/uv.toml, when this machine has one."""
    for path in (home / ".config" / "uv" / "uv.toml", Path("/etc/uv/uv.toml")):
        if path.is_file():
            return path.read_text()
    return None


def user_home() -> Path:
    """Home of the user whose settings count, also under sudo."""
    return Path(os.path.expanduser(f"~{os.environ.get('SUDO_USER', '')}"))  # noqa: PTH111 - Path has no ~user for ""


def _is_loopback(value: str) -> bool:
    """Whether a URL leads to this machine's loopback, which another machine can't reach."""
    return bool(re.search(r"//(localhost|127\.|\[::1\])", value))
