"""A machine: an image under a disk of its own, booted by systemd-nspawn in a network namespace with a plan's limits."""

import contextlib
import ipaddress
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from sandbox.machines import cgroups, inotify, layer, meminfo
from sandbox.network import namespaces
from sandbox.world import program
from sandbox.world.supervisor import Program, Supervisor
from sandbox.world.waiting import until
from sandbox.world.world import GATEWAY, World, WorldError, load

REBOOT = 133  # what systemd-nspawn exits with when the machine rebooted under --keep-unit
STOP_WAIT = 90  # seconds that a machine has to shut down: systemd's own limit for a service
STOPPED_DEADLINE = 10.0  # seconds
GUEST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Joins the machine's groups first, or else the command would escape its limits; the files end at "--".
JOIN = 'while [ "$1" != -- ]; do echo $$ > "$1"; shift; done; shift; exec "$@"'


class MachineError(WorldError):
    """A machine could not be made, started or reached; the text names its log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hardware:
    """What a machine is started with, kept beside its disk. Memory in MiB."""

    image: str
    public_ip: str | None  # None: it has no public networking
    private_ip: str
    vpc_range: str
    memory_mib: int
    vcpus: int


class Machine:
    """One machine of a full world. Its name is short: "d<droplet id>" or "c<first part of a cluster's id>"."""

    def __init__(
        self,
        world: World,
        name: str,
        *,
        image: Path,
        public_ip: str | None,
        private_ip: str,
        vpc_range: str,
        memory_mib: int,
        vcpus: int,
    ) -> None:
        self.world = world
        self.name = name
        self.hardware = Hardware(
            image=str(image),
            public_ip=public_ip,
            private_ip=private_ip,
            vpc_range=vpc_range,
            memory_mib=memory_mib,
            vcpus=vcpus,
        )
        self.folder = folder(world, name)
        self.upper = self.folder / "upper"
        self.program = program_of(name)
        self.supervisor = Supervisor(world)

    def create(self, files: Mapping[str, bytes | str], *, modes: Mapping[str, int] | None = None) -> None:
        """Make the disk and write files into it, paths without leading slash; an existing disk is kept as it is.

        A machine without a config drive gets its addresses from systemd-networkd directly.
        """
        if self.upper.is_dir():
            return
        inotify.check(len(list(self.folder.parent.glob("*/upper"))))
        part = self.folder / "upper.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        part.chmod(0o755)
        if not any("/cloud/seed/" in path for path in files):
            files = {**self._network_files(), **files}
        for path, content in files.items():
            target = part / path.lstrip("/")
            for parent in reversed(target.relative_to(part).parents):
                (part / parent).mkdir(exist_ok=True)
                (part / parent).chmod(0o755)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
            target.chmod((modes or {}).get(path, 0o644))
        part.rename(self.upper)

    def save(self) -> None:
        """Write down the hardware that the next start uses."""
        path = self.folder / "machine.json"
        path.write_text(json.dumps(asdict(self.hardware), indent=2))

    def saved(self) -> Hardware | None:
        """Read the hardware of the last start; None before the first."""
        path = self.folder / "machine.json"
        return Hardware(**json.loads(path.read_text())) if path.exists() else None

    def start(self) -> None:
        """Power the machine on; returns when systemd-nspawn runs, not when the machine has booted."""
        if not self.upper.is_dir():
            raise MachineError(f"machine {self.name}: has no disk at {self.upper}; create it first")
        self.save()
        namespaces.add_machine(
            self.name,
            public_ip=self.hardware.public_ip,
            private_ip=self.hardware.private_ip,
            vpc_range=self.hardware.vpc_range,
            mtu=namespaces.uplink_mtu(self.world),
        )
        self.supervisor.put(
            Program(
                name=self.program,
                command=[sys.executable, "-m", "sandbox.machines.machine", "--home", str(self.world.home), self.name],
                # Started again after a reboot, and after systemd-nspawn itself was killed; not after a power-off.
                autorestart="unexpected",
                exit_codes=tuple(code for code in range(256) if code != REBOOT),
                stop_wait=STOP_WAIT,
                priority=500,
            )
        )

    def power_off(self) -> None:
        """Shut the machine down in order and wait for it; its disk stays."""
        if _supervised(self.supervisor, self.program):
            self.supervisor.halt(self.program)  # systemd-nspawn passes SIGTERM on as a request to power off
        _clean_up(self.world, self.name)

    def kill(self) -> None:
        """Pull the plug; the disk stays as it is at this moment."""
        kill(self.world, self.name)

    def destroy(self) -> None:
        """Remove the machine, its disk and its links."""
        destroy(self.world, self.name)

    def running(self) -> bool:
        """Whether the machine is powered on."""
        return self.leader() is not None

    def leader(self) -> int | None:
        """Process id of the machine's systemd as this machine sees it."""
        return _leader(self.supervisor, self.program)

    def run(
        self,
        argv: Sequence[str],
        *,
        input: str | None = None,  # noqa: A002 - as in subprocess.run
        check: bool = True,
        timeout: float = 60,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside as root, under the machine's limits; timeout in seconds."""
        leader = self.leader()
        if leader is None:
            raise MachineError(f"machine {self.name}: is not running; see {self.world.logs / self.program}.log")
        variables = {"PATH": GUEST_PATH, "HOME": "/root", "LANG": "C.UTF-8", **_environment_of(self.folder / "root")}
        command = [
            *("sh", "-ec", JOIN, "join", *map(str, cgroups.exec_files(self.name)), "--"),
            *("nsenter", "-t", str(leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--"),
            *("env", "-i", *(f"{key}={value}" for key, value in (variables | dict(environment or {})).items())),
            *argv,
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True, input=input, timeout=timeout)
        if check and done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise MachineError(f"machine {self.name}: `{shlex.join(argv)}` failed with {done.returncode}: {said}")
        return done

    def wait_booted(self, timeout: float = 60) -> None:
        """Wait until systemd inside answers; timeout in seconds."""

        def missing() -> str | None:
            if not self.running():
                return "it is off"
            said = self.run(["systemctl", "is-system-running"], check=False).stdout.strip()
            return None if said in {"starting", "running", "degraded"} else f'systemd is "{said}"'

        late = f"machine {self.name}: did not boot within {timeout:.0f} s"
        log = self.world.logs / f"{self.program}.log"
        until(missing, timeout, lambda last: MachineError(f"{late}, {last}; see {log}"))

    def journal(self, *arguments: str) -> str:
        """Read the machine's journal, also of one that is off; arguments are journalctl's."""
        command = ["journalctl", f"--directory={self.upper / 'var/log/journal'}", "--no-pager", *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout

    def _network_files(self) -> dict[str, str]:
        prefix = ipaddress.ip_network(self.hardware.vpc_range).prefixlen
        return {
            "etc/systemd/network/10-eth0.network": "[Match]\nName=eth0\n[Network]\n"
            f"Address={self.hardware.public_ip}/{namespaces.PUBLIC_PREFIX}\nGateway={GATEWAY}\n",
            "etc/systemd/network/10-eth1.network": "[Match]\nName=eth1\n[Network]\n"
            f"Address={self.hardware.private_ip}/{prefix}\n",
            "etc/hostname": f"{self.name}\n",
        }


def folder(world: World, name: str) -> Path:
    """Where a machine's disk and description are."""
    return world.home / "machines" / name


def names(world: World) -> list[str]:
    """Machines that have a disk in this world."""
    machines = world.home / "machines"
    return sorted(path.name for path in machines.iterdir()) if machines.is_dir() else []


def program_of(name: str) -> str:
    """Name of a machine's supervised process, and of its console's log."""
    return f"machine-{name}"


def load_machine(world: World, name: str) -> Machine:
    """Make a handle of a machine that exists, from what is kept beside its disk."""
    path = folder(world, name) / "machine.json"
    if not path.exists():
        raise MachineError(f"machine {name}: does not exist in {world.home}")
    hardware = json.loads(path.read_text())
    return Machine(world, name, **hardware | {"image": Path(hardware["image"])})


def kill(world: World, name: str) -> None:
    """Pull a machine's plug."""
    supervisor, program = Supervisor(world), program_of(name)
    supervised = _supervised(supervisor, program)
    if supervised and (leader := _leader(supervisor, program)) is not None:
        # systemd-nspawn ends by itself when its leader does; killed first, it would leave the machine running.
        with contextlib.suppress(ProcessLookupError):
            os.kill(leader, signal.SIGKILL)
    if supervised:
        supervisor.halt(program)
    _clean_up(world, name)


def destroy(world: World, name: str) -> None:
    """Remove a machine, its disk and its links, as far as they exist."""
    kill(world, name)
    supervisor, program = Supervisor(world), program_of(name)
    if _supervised(supervisor, program):
        supervisor.remove(program)
    namespaces.remove_machine(name)
    cgroups.remove(name)
    if folder(world, name).is_dir():
        shutil.rmtree(folder(world, name))


def mounted(path: Path) -> bool:
    """Whether something is mounted exactly here."""
    return any(line.split(" ")[4] == str(path) for line in Path("/proc/self/mountinfo").read_text().splitlines())


def unmount(path: Path) -> None:
    """Take a machine's disk apart, if it is mounted; its last process may still be going."""

    def missing() -> str | None:
        while mounted(path):  # once for each time that it was mounted
            done = subprocess.run(["umount", str(path)], check=False, capture_output=True, text=True)
            if done.returncode:
                return done.stderr.strip()
        return None

    until(
        missing,
        STOPPED_DEADLINE,
        lambda last: MachineError(f"{path}: can't be unmounted: {last}; see `fuser -vm {path}`"),
    )


def run(home: Path, name: str) -> None:
    """Become systemd-nspawn of a machine. Runs under supervisord, once for each boot."""
    world = load(home)
    here = folder(world, name)
    hardware = Hardware(**json.loads((here / "machine.json").read_text()))
    # A systemd-nspawn that was killed leaves its machine running: two systems on one disk.
    cgroups.kill(name)
    cgroups.create(name, memory_mib=hardware.memory_mib, vcpus=hardware.vcpus)
    meminfo.file_of(here).touch(0o644)
    meminfo.write(here)
    namespaces.flush_machine(name)
    root, work = here / "root", here / "work"
    for path in (root, work):
        path.mkdir(exist_ok=True)
    if not mounted(root):
        options = f"lowerdir={layer.current(world)}:{hardware.image},upperdir={here / 'upper'},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", f"dosb-{name}", "-o", options, str(root)], check=True)
    cgroups.join(name)
    namespace = namespaces.machine_namespace(name)
    command = [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        f"--machine=dosb-{name}",
        f"--directory={root}",
        f"--bind-ro={meminfo.file_of(here)}:{meminfo.INSIDE}",
        "--register=no",
        "--keep-unit",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        # Both: nsenter for the right /sys/class/net, this option so that nspawn makes no namespace of its own.
        f"--network-namespace-path={namespaces.NETNS_FOLDER / namespace}",
        "--capability=CAP_NET_ADMIN",
        "--console=read-only",
    ]
    command = namespaces.in_namespace(namespace, command)
    os.execvpe(command[0], command, os.environ | {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"})  # noqa: S606 - no shell wanted


def _supervised(supervisor: Supervisor, program: str) -> bool:
    return supervisor.running() and any(status.name == program for status in supervisor.status())


def _leader(supervisor: Supervisor, program: str) -> int | None:
    for status in supervisor.status():
        if status.name == program and status.pid:
            return _machine_init(status.pid)
    return None


def _clean_up(world: World, name: str) -> None:
    cgroups.kill(name)
    unmount(folder(world, name) / "root")


def _machine_init(pid: int) -> int | None:
    """Find the machine's PID 1 among the children of its systemd-nspawn."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            status = Path(f"/proc/{child}/status").read_text()
            identifiers = next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
            if len(identifiers) > 1 and identifiers[-1] == "1":
                return int(child)
    return None


def _environment_of(root: Path) -> dict[str, str]:
    """Variables of a machine's /etc/environment, as PAM would give them to a login."""
    path = root / "etc/environment"
    if not path.exists():
        return {}
    pairs = (line.split("=", 1) for line in path.read_text().splitlines() if "=" in line and line[0] != "#")
    return {key: value.strip('"') for key, value in pairs}


@click.command()
@program.home_option
@click.argument("name")
def main(home: Path, name: str) -> None:
    """Run the machine NAME of the world in HOME, until it powers off."""
    run(home, name)


if __name__ == "__main__":
    main()
