"""The world layer: what every machine of a world has above its image, so that it trusts and reaches what is here."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from sandbox.machines import inherited, meminfo
from sandbox.world import certificates
from sandbox.world.world import RESOLVER, World, WorldError

AUTHORITIES = "usr/local/share/ca-certificates"
CLOUD_INIT = """\
# DigitalOcean gives its Droplets a config drive; so does this world, as a folder.
datasource_list: [ConfigDrive, None]
disable_root: false
manage_etc_hosts: true
# The mirrors are those of the machine that the sandbox runs on.
apt:
  preserve_sources_list: true
"""


class LayerError(WorldError):
    """The world layer could not be made; the text has the tool's own."""


def files(world: World, extra: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Contents of the layer by path, without what is derived from them; extra authorities are PEM texts."""
    authorities = {path.name: path.read_text() for path in certificates.host_extras()}
    authorities["sandbox-ca.crt"] = (world.ca / "ca.crt").read_text()
    authorities |= {f"sandbox-extra-{index}.crt": pem for index, pem in enumerate(extra)}
    variables = inherited.variables(environ)
    home = inherited.user_home()
    contents = {f"{AUTHORITIES}/{name}": pem for name, pem in authorities.items()}
    contents |= {
        "etc/apt/apt.conf.d/90sandbox": "".join(f"{line}\n" for line in inherited.apt_options()),
        "etc/apt/sources.list": "".join(f"{line}\n" for line in inherited.debian_sources("trixie")),
        "etc/cloud/cloud.cfg.d/91_sandbox.cfg": CLOUD_INIT,
        "etc/environment": "".join(f'{key}="{value}"\n' for key, value in variables.items()),
        "etc/fstab": meminfo.FSTAB,
        "etc/pip.conf": inherited.pip_configuration(home),
        "etc/resolv.conf": f"nameserver {RESOLVER}\n",
        # PAM reads /etc/environment, services do not.
        "etc/systemd/system.conf.d/10-sandbox.conf": "[Manager]\n"
        + "".join(f'DefaultEnvironment="{key}={value}"\n' for key, value in variables.items()),
    }
    if (uv := inherited.uv_configuration(home)) is not None:
        contents["etc/uv/uv.toml"] = uv
    return contents


def ensure(world: World, image: Path, extra: Iterable[str] = ()) -> Path:
    """Make the layer for the world's present authorities; the same content is made once."""
    contents = files(world, extra, os.environ)
    digest = hashlib.sha256(json.dumps([str(image), contents], sort_keys=True).encode()).hexdigest()[:12]
    layer = _folder(world) / digest
    if not layer.is_dir():
        part = _folder(world) / f"{digest}.part"
        shutil.rmtree(part, ignore_errors=True)
        for path, content in contents.items():
            target = part / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        for folder in (part, *(path for path in part.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        _update_certificates(image, part)
        part.rename(layer)
    _pointer(world).write_text(digest)
    return layer


def current(world: World) -> Path:
    """Where the layer is that machines start with."""
    try:
        return _folder(world) / _pointer(world).read_text()
    except FileNotFoundError as error:
        raise LayerError(f"{world.home}: has no world layer yet; run `sandbox up --depth full`") from error


def _update_certificates(image: Path, part: Path) -> None:
    """Let Debian's own tool make the bundle and its links, in the image with the layer above it."""
    work, root = part.with_suffix(".work"), part.with_suffix(".root")
    for folder in (work, root):
        folder.mkdir(exist_ok=True)
    options = f"lowerdir={image},upperdir={part},workdir={work}"
    _command(["mount", "-t", "overlay", "overlay", "-o", options, str(root)])
    try:
        _command(["chroot", str(root), "update-ca-certificates"])
    finally:
        _command(["umount", str(root)])
        shutil.rmtree(work)
        root.rmdir()


def _command(argv: list[str]) -> None:
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise LayerError(f"`{' '.join(argv)}` failed with {done.returncode}: {(done.stderr or done.stdout).strip()}")


def _folder(world: World) -> Path:
    return world.home / "layers"


def _pointer(world: World) -> Path:
    return _folder(world) / "current"
