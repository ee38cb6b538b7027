"""All load balancers of a full world: their networks, processes and files follow the topology."""

import contextlib
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from sandbox.model.realiser import RealiserError
from sandbox.model.topology import Certificate, LoadBalancer, Topology
from sandbox.network import inside, legs, namespaces
from sandbox.network.packet_filter import balancer_machine
from sandbox.parts.balancers import draining, runtime
from sandbox.parts.balancers.configuration import GENERATION_PORT, Places, generation_of, render, states
from sandbox.parts.balancers.draining import Draining
from sandbox.world.supervisor import Program, Supervisor
from sandbox.world.waiting import until
from sandbox.world.world import World

PREFIX = "balancer-"  # of the names of processes
_DEADLINE = 20.0  # seconds for HAProxy to serve a configuration
_CONFIGURATION = "haproxy.cfg"
_DRAINING = "draining.json"


def program_of(balancer_id: str) -> str:
    """Name of a load balancer's process."""
    return PREFIX + balancer_machine(balancer_id)


def health(world: World, balancer_id: str) -> dict[str, str]:
    """Say of each member, by its private address, whether it is healthy, down, or about to go."""
    name = balancer_machine(balancer_id)
    try:
        found = runtime.members(_socket(world, name))
    except RealiserError:
        return {}
    left = draining.read(_folder(world, name) / _DRAINING)
    return {member: "healthy" if up else "down" for member, up in found.items()} | dict.fromkeys(left, "draining")


class Balancers:
    """The load balancers of a world; `apply` is called by one thread at a time."""

    def __init__(self, world: World, supervisor: Supervisor) -> None:
        self._world = world
        self._supervisor = supervisor
        self._draining: dict[str, Draining] = {}

    def apply(self, topology: Topology) -> None:
        """Make processes and files of those in the topology equal to it; returns when each serves it."""
        if not topology.load_balancers:
            return
        certificates = {certificate.id: certificate for certificate in topology.certificates}
        running = {process.name for process in self._supervisor.status() if process.pid}
        for balancer in topology.load_balancers:
            self._serve(balancer, certificates, running=program_of(balancer.id) in running)

    def end(self, topology: Topology) -> None:
        """End those that the topology does not have, and with them all their connections."""
        wanted = {balancer_machine(balancer.id) for balancer in topology.load_balancers}
        for folder in (self._world.home / "balancers").glob("*"):
            if folder.name not in wanted:
                self._remove(folder.name)

    def _serve(self, balancer: LoadBalancer, certificates: dict[str, Certificate], *, running: bool) -> None:
        name = balancer_machine(balancer.id)
        folder, socket = _folder(self._world, name), _socket(self._world, name)
        places = Places(state=folder / "state", socket=socket, certificates=folder / "certificates")
        places.certificates.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = render(balancer, places)
        leaving = self._draining_of(name, balancer, running=running)
        if running and _content(folder / _CONFIGURATION) == text:
            return
        legs.add(
            name,
            public_ip=balancer.public_ip,
            private_ip=balancer.private_ip,
            vpc_range=balancer.vpc_range,
            mtu=namespaces.uplink_mtu(self._world),
        )
        used = {rule.certificate_id for rule in balancer.rules} - {""}
        for certificate_id in used:
            _write_secret(places.certificates / f"{certificate_id}.pem", certificates[certificate_id])
        candidate = folder / f"{_CONFIGURATION}.new"
        candidate.write_text(text)
        _check(name, candidate)
        places.state.write_text(states(balancer, _healthy_before(balancer, socket, leaving) if running else ()))
        candidate.rename(folder / _CONFIGURATION)
        if running:
            self._supervisor.signal(PREFIX + name, "USR2")
        else:
            self._start(name)
        self._wait_served(name, generation_of(text))
        _remove_others(places.certificates, used)

    def _draining_of(self, name: str, balancer: LoadBalancer, *, running: bool) -> Draining:
        """Return what members drain; those of before a restart of the API go on, if HAProxy still runs."""
        file = _folder(self._world, name) / _DRAINING
        if not running:
            file.unlink(missing_ok=True)
        if name not in self._draining:
            self._draining[name] = Draining(file, _master(self._world, name))
            self._draining[name].change(set(), set(balancer.members))
        return self._draining[name]

    def _start(self, name: str) -> None:
        # In the foreground, with a master that forks a new worker for each configuration.
        command = ["haproxy", "-W", "-db", "-S", f"{_master(self._world, name)},mode,600", "-f"]
        command.append(str(_folder(self._world, name) / _CONFIGURATION))
        in_namespace = namespaces.in_namespace(namespaces.machine_namespace(name), command)
        self._supervisor.put(Program(name=PREFIX + name, command=in_namespace, priority=300))

    def _wait_served(self, name: str, expected: str) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def missing() -> str | None:
            try:
                with opener.open(f"http://127.0.0.1:{GENERATION_PORT}/", timeout=5) as response:
                    served = str(response.read().decode())
            except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
                return f"nothing ({error})"
            return None if served == expected else served

        late = f"after {_DEADLINE:.0f} s, expected {expected}; see {self._world.logs / f'{PREFIX}{name}.log'}"
        until(
            lambda: inside.call(namespaces.machine_namespace(name), missing),
            _DEADLINE,
            lambda last: RealiserError(f"HAProxy {name} serves {last} {late}"),
        )

    def _remove(self, name: str) -> None:
        if name in self._draining:
            self._draining.pop(name).stop()
        self._supervisor.remove(PREFIX + name)
        namespaces.remove_machine(name)
        for socket in (_socket(self._world, name), _master(self._world, name)):
            socket.unlink(missing_ok=True)
        shutil.rmtree(_folder(self._world, name))


def _healthy_before(balancer: LoadBalancer, socket: Path, leaving: Draining) -> set[str]:
    """Let members go that are none any more; return those that are healthy."""
    now, present = runtime.members(socket, patience=runtime.PATIENCE), set(balancer.members)
    for member in now.keys() - present:
        runtime.stop_sending(socket, member)
    leaving.change(now.keys() - present, present)
    return {member for member, up in now.items() if up}


def _folder(world: World, name: str) -> Path:
    return world.home / "balancers" / name


def _socket(world: World, name: str) -> Path:
    return world.run / name  # not in the folder: the path of a socket must be short


def _master(world: World, name: str) -> Path:
    return world.run / f"{name}-m"


def _content(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return path.read_text()
    return ""


def _check(name: str, candidate: Path) -> None:
    command = ["haproxy", "-c", "-q", "-f", str(candidate)]
    in_namespace = namespaces.in_namespace(namespaces.machine_namespace(name), command)
    done = subprocess.run(in_namespace, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RealiserError(f"HAProxy refuses {candidate}: {(done.stderr or done.stdout).strip()}")


def _write_secret(path: Path, certificate: Certificate) -> None:
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(certificate.chain + certificate.key)
    part.rename(path)


def _remove_others(folder: Path, used: Iterable[str]) -> None:
    for pem in folder.glob("*.pem"):
        if pem.stem not in used:
            pem.unlink()
