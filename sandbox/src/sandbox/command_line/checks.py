"""What must hold before anything of a world is made; everything that is missing is said at once."""

import os
import re
import shutil
import socket
from pathlib import Path

from sandbox.machines import cgroups
from sandbox.network import namespaces
from sandbox.world import world as worlds
from sandbox.world.supervisor import Supervisor
from sandbox.world.world import PUBLIC_RANGE, World, WorldError

# Names of commands, and the Debian packages they are in.
TOOLS = {
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
    "dnsmasq": "dnsmasq-base",
    "haproxy": "haproxy",
    "ip": "iproute2",
    "journalctl": "systemd",
    "mmdebstrap": "mmdebstrap",
    "mount": "mount",
    "nft": "nftables",
    "nginx": "nginx-light",
    "nsenter": "util-linux",
    "pebble": "pebble",
    "radosgw": "radosgw",
    "systemd-nspawn": "systemd-container",
}
PROBE = "deb.debian.org"
SYSTEM_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # not on an ordinary user's PATH
# Root of a container may lack what makes network namespaces and mounts (linux/capability.h).
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}


def run(world: World) -> None:
    """Raise WorldError with every reason why a world can't start here; nothing is changed."""
    problems = _home(world)
    if world.depth == "full" and os.geteuid() != 0:
        # What else is missing can't be judged without root.
        problems.append(
            "depth `full` makes network namespaces and machines: it needs root, "
            f"got user {os.geteuid()}; run it with sudo, or take `--depth api`, which works without (as `make preview`)"
        )
    else:
        owner = _owner(world) if world.depth == "full" else []
        if world.depth == "full":
            tools = _tools()
            problems += [*_capabilities(), *tools, *owner, *_control_groups()]
            problems += [] if tools else _resolver()  # which asks some of them
        # Another world's proxy is its owner's problem. And what an earlier world of this home left running is ended
        # before the port is asked for again.
        if not owner and (world.depth == "api" or not Supervisor(world).socket.exists()):
            problems += _port(world)
    if problems:
        raise WorldError("\n".join(problems))


def port(world: World) -> None:
    """Raise WorldError when somebody else has the port of the world's proxy; its supervisor must not be running."""
    if problems := _port(world):
        raise WorldError("\n".join(problems))


def _home(world: World) -> list[str]:
    home = world.home
    if any(character.isspace() for character in str(home)):
        return [f'--home: must have no spaces: several services can not hold them, got "{home}"']
    if worlds.has_other_files(home):
        return [
            f"--home: must be a world, an empty directory or none yet, got {home}, which has other files; name another"
        ]
    problem = Supervisor(world).problem()
    return [problem] if problem else []


def _capabilities() -> list[str]:
    status = Path("/proc/self/status").read_text()
    found = re.search(r"(?m)^CapEff:\s*([0-9a-f]+)$", status)
    effective = int(found[1], 16) if found else 0
    missing = [name for name, bit in CAPABILITIES.items() if not effective >> bit & 1]
    if not missing:
        return []
    return [
        (
            f"root here lacks {' and '.join(missing)}, which network namespaces and machines need; "
            "start the container with --privileged, or take `--depth api`"
        )
    ]


def _tools() -> list[str]:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_PATH])
    missing = sorted(tool for tool in TOOLS if shutil.which(tool, path=path) is None)
    if not missing:
        return []
    packages = sorted({TOOLS[tool] for tool in missing})
    return [f"missing tools: {', '.join(missing)}; install them: apt-get install {' '.join(packages)}"]


def _owner(world: World) -> list[str]:
    home = namespaces.owner()
    if home is None or home == world.home or not (home / worlds.WORLD_FILE).exists():
        return []
    return [
        (
            f"a full world is up already, one fits on a machine: {home}, started from {worlds.load(home).clone}; "
            f"take it down with `sandbox down --home {home}`"
        )
    ]


def _control_groups() -> list[str]:
    try:
        cgroups.check()
    except WorldError as error:
        return [str(error)]
    return []


def _resolver() -> list[str]:
    try:
        namespaces.host_uplink()
        namespaces.upstream_resolvers()
        found = socket.getaddrinfo(PROBE, 80, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return [
            f"{PROBE}: this machine can't resolve it ({error}); machines of the world install packages from mirrors"
        ]
    except WorldError as error:
        return [str(error)]
    inside = namespaces.overlaps(address[4][0] for address in found if isinstance(address[4][0], str))
    if inside:
        return [
            (
                f"{PROBE}: this machine's resolver answers {', '.join(inside)}, inside {PUBLIC_RANGE}, which is the "
                "internet of the world; mirrors can't be reached then"
            )
        ]
    return []


def _port(world: World) -> list[str]:
    if Supervisor(world).running():
        return []  # the world's own proxy has it
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", world.proxy_port))
        except OSError as error:
            return [
                (
                    f"--proxy-port: {world.proxy_port} of 127.0.0.1 must be free for the world's proxy, got "
                    f'"{error.strerror}"; end what has it (`ss -ltnp sport = :{world.proxy_port}`) or choose another: '
                    f"`sandbox up --depth {world.depth} --proxy-port PORT`, which the world then remembers"
                )
            ]
    return []
