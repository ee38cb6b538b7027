"""An example of user data, and a Debian 13 that has its files and packages, not booted."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from droplet.user_data import UserDataSpec, render_user_data
from sandbox.machines import images, inherited
from sandbox.world import certificates

SPEC = UserDataSpec(
    region="nyc3",
    domain="polls.example",
    edge="direct",
    vpc="10.20.0.0/20",
    workers=2,
    threads=4,
    packages=("libmagic1t64",),
    acme_email="ops@polls.example",
    releases_bucket="polls-releases",
    state_bucket="polls-state",
    assets_bucket="polls-assets",
    agent_package="5f" * 32,
    agent_access_key="DO00EXAMPLE",
    agent_secret_key="secret of the agent",
)
BALANCED = replace(SPEC, edge="balanced")
USER_DATA = "/user-data"


def files() -> dict[str, str]:
    """All that is read on a Droplet: the user data itself, and by path each file that it writes."""
    text = render_user_data(SPEC)
    return {USER_DATA: text} | {file["path"]: file["content"] for file in yaml.safe_load(text)["write_files"]}


def write(root: Path) -> None:
    """Put every file where it is on a Droplet."""
    written = files()
    modes = {
        file["path"]: file.get("permissions", "0644") for file in yaml.safe_load(written[USER_DATA])["write_files"]
    }
    for name, content in written.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        path.chmod(int(modes.get(name, "0600"), 8))


@contextmanager
def droplet() -> Iterator[Path]:
    """Root of a Debian 13 with a Droplet's packages and files."""
    if os.geteuid() != 0:
        pytest.fail("needs root for machines and overlay mounts; deselect it with -m 'not full'")
    image = images.ensure("base", print)
    # Beside the image and not in pytest's folder, which may be on a file system that can't be an upper layer.
    disk = Path(tempfile.mkdtemp(prefix=".golden-", dir=image.parent))
    root, upper, work = (disk / name for name in ("root", "upper", "work"))
    for folder in (root, upper, work):
        folder.mkdir()
    layers = f"lowerdir={image},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, root], check=True)
    try:
        _install(root)
        yield root
    finally:
        subprocess.run(["umount", root], check=True)
        shutil.rmtree(disk)


def _install(root: Path) -> None:
    """Do what cloud-init would do: files, then packages, then users and folders; no service starts."""
    write(root)
    for certificate in certificates.host_extras():
        shutil.copy(certificate, root / "usr/local/share/ca-certificates")
    (root / "etc/apt/apt.conf.d/90sandbox").write_text("\n".join(inherited.apt_options()) + "\n")
    (root / "etc/pip.conf").write_text(inherited.pip_configuration(inherited.user_home()))
    succeed(root, "update-ca-certificates")
    succeed(root, "apt-get", "update", "--quiet")
    succeed(root, "apt-get", "install", "--yes", "--quiet", *yaml.safe_load(files()[USER_DATA])["packages"])
    succeed(root, "apt-get", "install", "--yes", "--quiet", "nginx")  # as cloud-init/install.sh does
    succeed(root, "systemd-sysusers", "/etc/sysusers.d/web.conf")
    succeed(root, "systemd-tmpfiles", "--create", "/etc/tmpfiles.d/web.conf")
    succeed(root, "ssh-keygen", "-A")
    # What certificate.service would bring.
    succeed(root, "mkdir", "-p", "/etc/nginx/tls")
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=polls.example"]
    site = "/etc/nginx/tls/site.pem"
    succeed(root, *request, "-keyout", site, "-out", f"{site}.crt")
    succeed(root, "sh", "-c", f"cat {site}.crt >> {site}")


def said(root: Path, *command: str, network: str = "--resolv-conf=copy-host") -> str:
    """Run a command in the machine's file system; return what it printed, and its exit status if that is not 0."""
    machine = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--pipe", "--directory", str(root)]
    variables = {"DEBIAN_FRONTEND": "noninteractive", **inherited.variables(os.environ)}
    machine += [*(f"--setenv={name}={value}" for name, value in variables.items()), "--link-journal=no", network]
    # To a file, because nspawn itself has things to say that are not the command's.
    done = subprocess.run([*machine, "--", "sh", "-c", '"$@" >/output 2>&1', "sh", *command], check=False)
    output = (root / "output").read_text()
    return output + (f"{command[0]}: exit status {done.returncode}\n" if done.returncode else "")


def succeed(root: Path, *command: str) -> str:
    """Run a command in the machine's file system that must succeed; return what it printed."""
    output = said(root, *command)
    assert f"{command[0]}: exit status " not in output, output
    return output
