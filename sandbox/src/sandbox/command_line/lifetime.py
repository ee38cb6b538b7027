"""A world's beginning and end: what starts in which order, what may run side by side, and what is taken away."""

import contextlib
import errno
import hashlib
import http.client
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sandbox.client import environment
from sandbox.command_line import checks, status
from sandbox.machines import cgroups, images, inotify, layer, machine, meminfo
from sandbox.model.realiser import RealiserError
from sandbox.model.topology import Topology
from sandbox.network import inside, namespaces, packet_filter
from sandbox.parts import acme, metadata, names
from sandbox.parts.databases import clusters
from sandbox.parts.front import front
from sandbox.parts.front.configuration import API_PORT
from sandbox.parts.spaces import gateway
from sandbox.simulated import realiser
from sandbox.world import certificates
from sandbox.world import world as worlds
from sandbox.world.supervisor import Program, Supervisor
from sandbox.world.waiting import until
from sandbox.world.world import API_HOST, World, WorldError

Report = Callable[[str, str], None]  # part of the world, what became of it
Result = TypeVar("Result")

WORLD_GROUP = "world"  # control group of supervisord and all it starts but machines
API_DEADLINE = 60.0  # seconds
PROXY_DEADLINE = 15.0  # seconds


def up(world: World, report: Report) -> None:
    """Start a world, or what is missing of it; returns when its API answers.

    Nothing is made, its directory neither, before all that can be known to be missing is there.
    """
    with _alone(world):
        _up(world, report)


def _up(world: World, report: Report) -> None:
    _find_tools()
    checks.run(world)
    if world.depth == "full":
        report("checks", "root, tools, control groups, resolver, port")
        _build_images(images_of(world), report)
    if worlds.is_leftover(world.home):
        _remove_leftover(world, report)
    worlds.establish(world)
    try:
        environment.prepare_pulumi(world)
        if world.depth == "full":
            _up_full(world, report)
        else:
            _up_api(world, report)
    except (WorldError, RealiserError, OSError) as error:
        raise WorldError(
            f"{error}\nwhat is up already stays: see `sandbox logs`; "
            "`sandbox up` goes on from there, `sandbox down` removes it"
        ) from error


def down(world: World, report: Report) -> None:
    """Stop a world and remove every trace of it, its disks and its authority too."""
    with _alone(world):
        _down(world, report)


@contextlib.contextmanager
def _alone(world: World) -> Iterator[None]:
    """Refuse to begin while another `up` or `down` of this world is at work, whose half-made things would be ours."""
    # An abstract socket, which only Linux has: nothing on disk, and gone with its process, however that ends.
    name = f"\0django-do {hashlib.sha256(str(world.home).encode()).hexdigest()}"
    with socket.socket(socket.AF_UNIX) as claim:
        if sys.platform == "linux":
            try:
                claim.bind(name)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                text = f"{world.home}: another `sandbox up` or `sandbox down` is at work on it; wait until it has ended"
                raise WorldError(text) from error
        yield


def _down(world: World, report: Report) -> None:
    _find_tools()
    supervisor = Supervisor(world)
    if world.depth == "full":
        _down_full(world, supervisor, report)
    else:
        supervisor.stop()
        report("processes", "stopped")
    _remove_home(world)
    report("home", f"{world.home} removed")


def _find_tools() -> None:
    """Let every process of the world find the system's tools, which are not on an ordinary user's PATH."""
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), *checks.SYSTEM_PATH])


def _remove_home(world: World) -> None:
    """Remove a world's directory; what makes it a world goes last, so that `down` can be repeated when interrupted."""
    for path in world.home.iterdir():
        if path == world.file:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    world.file.unlink(missing_ok=True)
    world.home.rmdir()


def _remove_leftover(world: World, report: Report) -> None:
    Supervisor(world).stop()
    if world.depth == "full":
        _sweep(world)
        if namespaces.owner() == world.home:
            namespaces.stop(world)
    _remove_home(world)
    report("home", f"remains of an earlier world in {world.home} removed")


def images_of(world: World) -> list[str]:
    """Names of the images that a world needs at its start: what every world does, and what its clusters run on.

    The latter are there, unless a recipe has changed since; the API would build them, and so answer too late.
    """
    return sorted({*images.FIRST, *(images.POSTGRES[version] for version in clusters.versions(world))})


def _build_images(names: list[str], report: Report) -> None:
    with ThreadPoolExecutor() as pool:
        _all([pool.submit(_image, name, report) for name in names])


def _up_api(world: World, report: Report) -> None:
    supervisor = Supervisor(world)
    supervisor.start()
    report("supervisor", "runs")
    realiser.start(world, supervisor)
    report("api", f"https://{API_HOST} by the proxy on 127.0.0.1:{world.proxy_port}")


def _up_full(world: World, report: Report) -> None:
    supervisor = Supervisor(world)
    if not supervisor.running():
        # A killed world's network may be half made, or that of a home that is gone.
        _sweep(world)
        namespaces.stop(world)
        checks.port(world)
    with ThreadPoolExecutor() as pool:
        certificates.ensure_ca(world)
        report("ca", str(world.ca / "ca.crt"))
        fresh = namespaces.ROUTER not in namespaces.namespaces()
        namespaces.start(world)
        if fresh:
            packet_filter.apply(Topology())
        report("network", f"namespaces {namespaces.ROUTER}, {namespaces.INTERNET}")
        supervisor.start()
        cgroups.create(WORLD_GROUP)
        cgroups.join(WORLD_GROUP, supervisor.pid())
        report("supervisor", f"pid {supervisor.pid()}")
        names.start(world, supervisor)
        report("dns", f"dnsmasq, asks {', '.join(namespaces.upstream_resolvers())} for other names")

        def authorities() -> None:
            roots = acme.start(world, supervisor)
            certificates.write_bundle(world, [roots])
            report("acme", f"Pebble; trust bundle {world.bundle}")
            layer.ensure(world, images.path_of("base"), [roots])
            report("layer", "what machines trust and inherit")

        parts = [
            pool.submit(authorities),
            pool.submit(_part, "spaces", "Ceph RADOS Gateway", lambda: gateway.start(world, supervisor), report),
            pool.submit(
                _part, "front", "nginx for DigitalOcean's names", lambda: front.start(world, supervisor), report
            ),
        ]
        _all(parts)
    if not inotify.make_room(world):
        report("machines", f"at most {inotify.ceiling()}: {inotify.LIMIT} can't be raised from here")
    meminfo.start(world, supervisor)
    report("meminfo", "machines see the memory of their plan")
    _start_api(world, supervisor)
    report("api", f"https://{API_HOST} in namespace {namespaces.INTERNET}")
    for name in status.machines_off(world):
        supervisor.restart(name)
        report("machine", f"{name.removeprefix('machine-')}: was off, is started")
    metadata.start(world, supervisor)
    report("metadata", "169.254.169.254 for Droplets")
    command = [sys.executable, "-m", "sandbox.client.proxy", "--home", str(world.home), "--netns", namespaces.INTERNET]
    supervisor.put(Program(name="proxy", command=command, priority=210))
    _wait_listening(world)
    report("proxy", f"127.0.0.1:{world.proxy_port}, for a browser of yours")


def _wait_listening(world: World) -> None:
    def missing() -> str | None:
        try:
            socket.create_connection(("127.0.0.1", world.proxy_port), timeout=1).close()
        except OSError as error:
            return str(error)
        return None

    log = world.logs / "proxy.log"
    until(missing, PROXY_DEADLINE, lambda last: WorldError(f"the proxy does not listen: {last}; see {log}"))


def _start_api(world: World, supervisor: Supervisor) -> None:
    command = [sys.executable, "-m", "sandbox.api.server", "--home", str(world.home)]
    supervisor.put(
        Program(name="api", command=namespaces.in_namespace(namespaces.ROUTER, command), stop_wait=20, priority=900)
    )

    def missing() -> str | None:
        connection = http.client.HTTPConnection("127.0.0.1", API_PORT, timeout=5)
        try:
            connection.request("GET", "/v2/account", headers={"Authorization": f"Bearer {world.token}"})
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return str(error)
        finally:
            connection.close()
        return None if status == http.client.OK else f"status {status}"

    log = world.logs / "api.log"
    until(
        lambda: inside.call(namespaces.ROUTER, missing),
        API_DEADLINE,
        lambda last: WorldError(f"the API does not answer after {API_DEADLINE:.0f} s, last {last}; see {log}"),
    )


def _down_full(world: World, supervisor: Supervisor, report: Report) -> None:
    ours = namespaces.owner() in {None, world.home}  # else what runs on this machine is another world's
    if ours:
        cgroups.kill()  # no orderly end: the disks are removed
    supervisor.stop()  # one that was not in its control group yet
    # Unmounting an overlay writes back all that its file system has not written yet; so what goes anyway goes first.
    for content in (*world.home.glob("machines/*/upper"), world.home / "spaces"):
        shutil.rmtree(content, ignore_errors=True)
    _unmount(world)
    report("processes", "ended, machines too")
    if ours:
        namespaces.stop(world)
        inotify.put_back(world)
        cgroups.remove()
        report("network", "namespaces, links, tables, control groups removed")


def _sweep(world: World) -> None:
    """End what an earlier world left on this machine whose supervisor is dead, and take machines' disks apart."""
    cgroups.kill()
    _unmount(world)


def _unmount(world: World) -> None:
    mounts = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for path in reversed(mounts):  # the last one is on top
        if path.startswith(f"{world.home}/"):
            machine.unmount(Path(path))


def _image(name: str, report: Report) -> None:
    image = images.ensure(name, lambda line: report("image", line))
    report("image", f"{name}: {image}")


def _part(name: str, what: str, start: Callable[[], object], report: Report) -> None:
    start()
    report(name, what)


def _all(futures: list[Future[Result]]) -> list[Result]:
    """Wait for all, then raise the first failure, so that nothing goes on behind a message."""
    failures = [error for future in futures if (error := future.exception()) is not None]
    if failures:
        raise failures[0]
    return [future.result() for future in futures]
