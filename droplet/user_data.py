"""User data of a web Droplet: the files of cloud-init/, filled in and wrapped as cloud-config."""

import json
import re
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from urllib.parse import urlsplit

import pulumi
import yaml

from config.stack import Edge
from config.values import EMAIL, HOSTNAME, PACKAGE
from sizing.plans import USER_DATA_LIMIT
from sizing.regions import spaces_endpoint

SOURCES = Path(__file__).resolve().parent.parent / "cloud-init"

# What the release agent needs, and the walls; cloud-init/install.sh installs the rest beside the first release.
PACKAGES = (
    "curl",
    "nftables",
    "openssh-server",
    "python3-pycurl",  # the agent's way to Spaces
    "python3-pip-whl",  # the wheel of pip, which installs uv; python3-pip would recommend a compiler
)


class UserDataError(pulumi.RunError):
    """The user data can't be rendered; the text says why and how to fix it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UserDataSpec:
    """All that a web Droplet's user data depends on. It changes only when the machine does."""

    region: str
    domain: str
    edge: Edge
    vpc: str  # range of the private network, which a load balancer comes from
    workers: int
    threads: int
    packages: tuple[str, ...]  # more Debian packages, for the app
    acme_email: str | None
    releases_bucket: str
    state_bucket: str
    assets_bucket: str
    agent_package: str  # SHA-256
    agent_access_key: str
    agent_secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _File:
    """One file of cloud-init/ and its place on the Droplet."""

    source: str
    path: str
    permissions: str = ""  # cloud-init's own are 0644, root:root
    edge: Edge | None = None  # the one that has it, None if all have


_LIBRARY = "/usr/local/lib/web"
_UNITS = "/etc/systemd/system"

_FILES = (
    _File("system/apt.conf", "/etc/apt/apt.conf.d/60web"),
    _File("units/do-agent.conf", f"{_UNITS}/do-agent.service.d/web.conf"),
    _File("app-server/gunicorn.conf.py", "/etc/gunicorn/gunicorn.conf.py"),
    _File("system/nftables.conf", "/etc/nftables.conf"),
    _File("nginx/always.conf", "/etc/nginx/always.conf"),
    _File("nginx/tls.conf", "/etc/nginx/edge-tls.conf", edge="direct"),
    _File("nginx/direct.conf", "/etc/nginx/edge/direct.conf", edge="direct"),
    _File("nginx/balanced.conf", "/etc/nginx/edge/balanced.conf", edge="balanced"),
    _File("nginx/health.conf", "/etc/nginx/health/balanced.conf", edge="balanced"),
    _File("nginx/challenge.conf", "/etc/nginx/challenge/balanced.conf", edge="balanced"),
    _File("nginx/others.conf", "/etc/nginx/edge/others.conf"),
    _File("nginx/look.conf", "/etc/nginx/edge/look.conf"),
    _File("nginx/nginx.conf", "/etc/nginx/nginx.conf"),
    _File("nginx/proxy.conf", "/etc/nginx/proxy.conf"),
    _File("nginx/site.conf", "/etc/nginx/site.conf"),
    _File("system/sshd.conf", "/etc/ssh/sshd_config.d/10-web.conf", "0600"),
    _File("system/journald.conf", "/etc/systemd/journald.conf.d/web.conf"),
    _File("units/gunicorn.service", f"{_UNITS}/gunicorn.service"),
    _File("units/gunicorn.socket", f"{_UNITS}/gunicorn.socket"),
    _File("units/nginx-look.conf", f"{_UNITS}/nginx.service.d/web.conf"),
    _File("units/certificate.service", f"{_UNITS}/certificate.service", edge="direct"),
    _File("units/certificate.timer", f"{_UNITS}/certificate.timer", edge="direct"),
    _File("units/release-agent.service", f"{_UNITS}/release-agent.service"),
    _File("system/sysusers.conf", "/etc/sysusers.d/web.conf"),
    _File("system/tmpfiles.conf", "/etc/tmpfiles.d/web.conf"),
    _File("install.sh", f"{_LIBRARY}/install", "0755"),
    _File("app-server/run-gunicorn.py", f"{_LIBRARY}/run-gunicorn.py"),
    _File("start.py", f"{_LIBRARY}/start.py"),
    _File("uv-requirements.txt", f"{_LIBRARY}/uv-requirements.txt"),
    _File("verify.sh", f"{_LIBRARY}/verify", "0755"),
)

# What the packet filter of a Droplet lets in.
PORTS: dict[Edge, str] = {"direct": "80, 443", "balanced": "80"}

_PLACEHOLDER = re.compile(r"@([A-Z_]+)@")


def render_user_data(spec: UserDataSpec) -> str:
    """Return the cloud-config, the same bytes for the same spec; raises UserDataError."""
    _check(spec)
    values = {
        "ASSETS": f"{spec.assets_bucket}.{urlsplit(spaces_endpoint(spec.region)).hostname}",
        "DOMAIN": spec.domain,
        "PACKAGE": spec.agent_package,
        "PORTS": PORTS[spec.edge],
        "THREADS": str(spec.threads),
        "VPC": spec.vpc,
        "WORKERS": str(spec.workers),
    }
    agent = {
        "region": spec.region,
        "endpoint": spaces_endpoint(spec.region),
        "domain": spec.domain,
        "acme_email": spec.acme_email or "",
        "releases_bucket": spec.releases_bucket,
        "state_bucket": spec.state_bucket,
        "assets_bucket": spec.assets_bucket,
        "access_key": spec.agent_access_key,
        "secret_key": spec.agent_secret_key,
        "package": spec.agent_package,
    }
    files = [_entry("/etc/release-agent/config.json", json.dumps(agent, indent=2) + "\n", "0600")]
    files += [
        _entry(file.path, _fill(file.source, values), file.permissions)
        for file in _FILES
        if file.edge in {None, spec.edge}
    ]
    config = {
        "disable_root": False,  # as DigitalOcean's images have it: the keys are root's
        "ssh_pwauth": False,
        "users": [],  # none besides root: the services' own are made by systemd-sysusers
        "write_files": sorted(files, key=lambda entry: entry["path"]),
        "package_update": True,
        "packages": sorted({*PACKAGES, *spec.packages}),
        # The shell that runs these ignores all but the last status, unless it is told to stop.
        "runcmd": [["set", "-e"], [f"{_LIBRARY}/install"], [f"{_LIBRARY}/verify"]],
    }
    text = "#cloud-config\n" + yaml.dump(config, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
    if (size := len(text.encode())) > USER_DATA_LIMIT:
        raise UserDataError(
            f"user_data: must be at most {USER_DATA_LIMIT} bytes (a limit of DigitalOcean), got {size}; "
            f"shorten web.packages ({len(spec.packages)} names) or the files in cloud-init/"
        )
    return text


def _check(spec: UserDataSpec) -> None:
    """Refuse values that would end up as other configuration than meant; all problems at once."""
    problems = []
    if not re.fullmatch(HOSTNAME, spec.domain):
        problems.append(f'domain: must be a host name in lower case, got "{spec.domain}"')
    try:
        IPv4Network(spec.vpc)
    except ValueError:
        problems.append(f'network.cidr: must be an IPv4 CIDR, got "{spec.vpc}"')
    problems += [
        f"web.{name}: must be at least 1, got {value}"
        for name, value in (("workers", spec.workers), ("threads", spec.threads))
        if value < 1
    ]
    problems += [
        f'web.packages: must be names of Debian packages, got "{name}"'
        for name in spec.packages
        if not re.fullmatch(PACKAGE, name)
    ]
    if spec.acme_email is not None and not re.fullmatch(EMAIL, spec.acme_email):
        problems.append(f'web.acmeEmail: must be an e-mail address, got "{spec.acme_email}"')
    if problems:
        raise UserDataError("\n".join(problems))


def _fill(source: str, values: dict[str, str]) -> str:
    """Return a file of cloud-init/ with its placeholders replaced; an unknown one is an error."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise UserDataError(f"cloud-init/{source}: unknown placeholder {match[0]}; known: {', '.join(values)}")
        return values[match[1]]

    return _PLACEHOLDER.sub(value, (SOURCES / source).read_text(encoding="utf-8"))


def _entry(path: str, content: str, permissions: str) -> dict[str, str]:
    """Return one item of write_files."""
    return {"path": path, **({"permissions": permissions} if permissions else {}), "content": content}


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are, so that the user data can be read and compared."""


def _literal(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _literal)
