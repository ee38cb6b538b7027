"""Spaces by Ceph's RADOS Gateway: one monitor, one disk, one gateway per region, inside the world's namespace.

Data is on disk (BlueStore in a sparse file) and survives a stop, a start and a kill of every process. The gateway of
DEFAULT_REGIONS starts with the world; another region's starts when the first request for it arrives (see region_wake).
"""

import functools
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rgwadmin.exceptions import RGWAdminException

from sandbox.model.plans import SPACES_REGIONS
from sandbox.model.realiser import Grant, RealiserError
from sandbox.network import inside
from sandbox.network.namespaces import ROUTER, in_namespace
from sandbox.parts.spaces import access, ceph
from sandbox.world.locks import exclusive
from sandbox.world.supervisor import Program, Supervisor
from sandbox.world.waiting import until
from sandbox.world.world import World

DEFAULT_REGIONS = ("nyc3",)
_DEADLINE = 60.0  # seconds for any one daemon to answer


def regions(world: World) -> list[str]:
    """List the regions that start with this world: the default ones, and those that were asked for once."""
    return [region for region in SPACES_REGIONS if region in DEFAULT_REGIONS or _marker(world, region).exists()]


def start(world: World, supervisor: Supervisor, *, namespace: str = ROUTER) -> None:
    """Start the storage and the gateways; return when they answer S3 requests."""
    folder = _folder(world)
    if not (folder / "made").exists():
        # An interrupted first start leaves nothing that is worth keeping.
        shutil.rmtree(folder, ignore_errors=True)
        _create(world, supervisor, namespace)
    else:
        _start_monitor(world, supervisor, namespace)
        _start_disk(world, supervisor, namespace)
    for region in regions(world):
        start_region(world, supervisor, region, namespace=namespace)


def start_region(world: World, supervisor: Supervisor, region: str, *, namespace: str = ROUTER) -> None:
    """Start a region's gateway and give it the account and all keys; one that runs is left alone."""
    folder = _folder(world)
    with exclusive(folder / f"{region}.lock"):
        known = _marker(world, region).exists()
        if not known:
            _create_zone(world, region, namespace)
        supervisor.put(
            Program(
                name=f"rgw-{region}",
                command=in_namespace(
                    namespace, ["radosgw", "-n", f"client.rgw.{region}", "-f", "--conf", str(folder / "ceph.conf")]
                ),
                priority=30,
                stop_wait=15,
            )
        )
        _wait(f"gateway of {region}", world.logs / f"rgw-{region}.log", lambda: _answers(namespace, region))
        if not known:
            # Under the keys' lock: a key that is put now is either in the file already or finds the region running.
            with exclusive(folder / "keys.lock"):
                _ask(namespace, region, lambda: _put_all_keys(world, region))
                _marker(world, region).touch()


def put_key(
    world: World,
    region_slugs: list[str],
    access_key: str,
    secret_key: str,
    grants: list[Grant],
    *,
    namespace: str = ROUTER,
) -> None:
    """Create a Spaces key or change its grants, in those of the regions that run; the others get it when they start."""
    with exclusive(_folder(world) / "keys.lock"):
        keys = _read_keys(world)
        keys[access_key] = {"secret": secret_key, "grants": [asdict(grant) for grant in grants]}
        for region in _chosen(world, region_slugs):
            _ask(namespace, region, functools.partial(access.put, world, region, access_key, secret_key, grants))
        _write_keys(world, keys)


def delete_key(world: World, region_slugs: list[str], access_key: str, *, namespace: str = ROUTER) -> None:
    """Revoke a Spaces key; what it wrote stays. A key that doesn't exist is not an error."""
    with exclusive(_folder(world) / "keys.lock"):
        keys = _read_keys(world)
        keys.pop(access_key, None)
        for region in _chosen(world, region_slugs):
            _ask(namespace, region, functools.partial(access.remove, world, region, access_key))
        _write_keys(world, keys)


# The storage: made once, then started from disk.


def _create(world: World, supervisor: Supervisor, namespace: str) -> None:
    folder = _folder(world)
    for name in ("mon", "osd", "rgw"):
        (folder / name).mkdir(parents=True, mode=0o700)
    cluster, disk = str(uuid.uuid4()), str(uuid.uuid4())
    conf = str(folder / "ceph.conf")
    Path(conf).write_text(ceph.configuration(folder, cluster))
    _write_private(folder / "keyring", ceph.keyring())
    _run(
        namespace,
        "monmaptool", "--create", "--fsid", cluster, "--addv", "a", f"[v2:{ceph.ADDRESS}:{ceph.MONITOR_PORT}]",
        folder / "monmap",
    )  # fmt: skip
    # The monitor imports every key of the file, so no `ceph auth add` is needed.
    _run(
        namespace,
        "ceph-mon", "-i", "a", "--conf", conf, "--mkfs", "--monmap", folder / "monmap", "--keyring", folder / "keyring",
    )  # fmt: skip
    # Formatting the disk takes longest and needs no monitor.
    format_disk = subprocess.Popen(
        in_namespace(namespace, ["ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk, "--conf", conf]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _start_monitor(world, supervisor, namespace)
        _run(namespace, "ceph", "--conf", conf, "--connect-timeout", "30", "osd", "new", disk)
    finally:
        _, errors = format_disk.communicate()
    if format_disk.returncode:
        raise RealiserError(f"ceph-osd --mkfs failed: {errors.strip()[-2000:]}")
    _start_disk(world, supervisor, namespace)
    (folder / "made").touch()


def _start_monitor(world: World, supervisor: Supervisor, namespace: str) -> None:
    conf = str(_folder(world) / "ceph.conf")
    supervisor.put(
        Program(
            name="ceph-mon",
            command=in_namespace(namespace, ["ceph-mon", "-i", "a", "-f", "--conf", conf]),
            priority=10,
        )
    )
    _wait(
        "Ceph's monitor",
        world.logs / "ceph-mon.log",
        lambda: inside.listens(namespace, ceph.ADDRESS, ceph.MONITOR_PORT),
    )


def _start_disk(world: World, supervisor: Supervisor, namespace: str) -> None:
    conf = str(_folder(world) / "ceph.conf")
    supervisor.put(
        Program(
            name="ceph-osd",
            command=in_namespace(namespace, ["ceph-osd", "-i", "0", "-f", "--conf", conf]),
            priority=20,
            stop_wait=20,
        )
    )


def _create_zone(world: World, region: str, namespace: str) -> None:
    """Make a zone group and zone per region, in shared pools by namespace; no realm, so nothing synchronises."""
    conf = _folder(world) / "ceph.conf"
    admin = ("radosgw-admin", "--conf", conf, "-n", "client.admin")
    place = (f"--rgw-zonegroup={region}", f"--rgw-zone={region}")
    _run(namespace, *admin, "zonegroup", "set", place[0], stdin=json.dumps(ceph.zone_group(region)))
    _run(namespace, *admin, "zone", "set", *place, stdin=json.dumps(ceph.zone(region)))
    # By standard input and not `user create --secret-key=…`: everybody may read a process list.
    _run(
        namespace,
        "radosgw-admin", "--conf", conf, "-n", f"client.rgw.{region}", "metadata", "put", f"user:{ceph.ACCOUNT}",
        stdin=json.dumps(ceph.account(world)),
    )  # fmt: skip


def _put_all_keys(world: World, region: str) -> None:
    access.open_to_account(world, region)
    for access_key, key in _read_keys(world).items():
        access.put(world, region, access_key, key["secret"], [Grant(**grant) for grant in key["grants"]])


def _read_keys(world: World) -> dict[str, Any]:
    path = _folder(world) / "keys.json"
    keys: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return keys


def _write_keys(world: World, keys: dict[str, Any]) -> None:
    _write_private(_folder(world) / "keys.json", json.dumps(keys, indent=1))


def _chosen(world: World, region_slugs: list[str]) -> list[str]:
    return [region for region in region_slugs if region in SPACES_REGIONS and _marker(world, region).exists()]


# Small helpers.


def _folder(world: World) -> Path:
    return world.home / "spaces"


def _marker(world: World, region: str) -> Path:
    """Name the file that exists once a region is complete: zone, account and keys."""
    return _folder(world) / f"region-{region}"


def _write_private(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    part.rename(path)


def _run(namespace: str, *argv: str | Path, stdin: str = "") -> str:
    done = subprocess.run(
        in_namespace(namespace, list(map(str, argv))),
        check=False,
        capture_output=True,
        text=True,
        input=stdin,
        timeout=_DEADLINE,
    )
    if done.returncode:
        raise RealiserError(f"{argv[0]} failed ({done.returncode}): {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def _ask(namespace: str, region: str, call: Callable[[], None]) -> None:
    """Make calls to a gateway's administration; what it refuses is the world's error."""
    try:
        inside.call(namespace, call)
    except (RGWAdminException, BotoCoreError, ClientError) as error:
        raise RealiserError(f"Spaces in {region}: {type(error).__name__}: {error}") from error


def _wait(what: str, log: Path, ready: Callable[[], bool]) -> None:
    until(
        lambda: None if ready() else "does not answer",
        _DEADLINE,
        lambda last: RealiserError(f"{what} {last} after {_DEADLINE:.0f} s; see {log}"),
    )


def _answers(namespace: str, region: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get() -> bool:
        try:
            with opener.open(f"http://{ceph.ADDRESS}:{ceph.gateway_port(region)}/", timeout=5) as response:
                return bool(response.status == HTTPStatus.OK)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    return inside.call(namespace, get)
