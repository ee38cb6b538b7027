"""What runs in a world: product, state, address and memory of each part, as data."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox.machines import cgroups
from sandbox.machines.machine import names as machine_names
from sandbox.machines.machine import program_of
from sandbox.model.store import Resource, Store
from sandbox.model.topology_of import cluster_nodes, primary_of
from sandbox.network import namespaces
from sandbox.network.packet_filter import cluster_machine, droplet_machine
from sandbox.parts.balancers import balancers
from sandbox.parts.databases.clusters import Clusters
from sandbox.world.supervisor import ProcessStatus, Supervisor
from sandbox.world.world import API_HOST, GATEWAY, METADATA, RESOLVER, World

MIB = 1024 * 1024

# What each process plays, and where it is reached in a full world.
PRODUCTS = {
    "api": ("API v2", API_HOST),
    "ceph-mon": ("Spaces: monitor", "127.0.0.1:3300"),
    "ceph-osd": ("Spaces: disk", ""),
    "dns": ("DNS", f"{GATEWAY}:53, {RESOLVER}:53"),
    "front": ("TLS front and CDN", f"{GATEWAY}:443"),
    "meminfo": ("Machines' own view of their memory", ""),
    "metadata": ("Metadata service", METADATA),
    "pebble": ("Let's Encrypt", "acme-v02.api.letsencrypt.org"),
    "proxy": ("Proxy for a browser", ""),
    "spaces": ("Spaces", "*.digitaloceanspaces.com"),
    "spaces-wake": ("Spaces: starts regions", ""),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One part of a world. Memory in MiB, without caches that can be dropped."""

    name: str
    product: str
    state: str
    address: str
    memory_mib: int


def leftovers(world: World) -> int:
    """Count what still runs of a full world whose supervisor is dead."""
    if world.depth != "full" or Supervisor(world).running() or namespaces.owner() not in {None, world.home}:
        return 0
    return len(cgroups.pids())


def machines_off(world: World) -> list[str]:
    """Programs of the machines that the API says are on, and that are not: their system was shut down or died.

    A load balancer is no machine, but it is the same with its process.
    """
    processes = {status.name: status for status in Supervisor(world).status()}
    store = Store(world.database, read_only=True)
    try:
        on = [
            droplet_machine(int(droplet.id)) for droplet in store.list("droplet") if droplet.body["status"] == "active"
        ]
        # Standby nodes are left to the API: one that was the primary must not start as it is.
        on += [
            cluster_machine(cluster.id, primary_of(cluster))
            for cluster in store.list("database")
            if cluster.body["status"] == "online"
        ]
        active = [one.id for one in store.list("load_balancer") if one.body["status"] == "active"]
    finally:
        store.close()
    programs = [program_of(name) for name in on if name in machine_names(world)]
    programs += [balancers.program_of(balancer_id) for balancer_id in active]
    return [name for name in programs if name not in processes or not processes[name].pid]


def rows(world: World) -> list[Row]:
    """Describe every process, machine and simulated node; nothing when the world is stopped."""
    supervisor = Supervisor(world)
    if not supervisor.running():
        return []
    processes = {status.name: status for status in supervisor.status()}
    described = [
        _process(world, status) for name, status in sorted(processes.items()) if not name.startswith("machine-")
    ]
    if not world.database.exists():
        return described
    store = Store(world.database, read_only=True)
    try:
        machines = set(machine_names(world))
        described += [_droplet(droplet, machines, processes) for droplet in store.list("droplet")]
        for cluster in store.list("database"):
            described.append(_cluster(cluster, machines, processes))
            if len(cluster_nodes(cluster)) > 1 and world.depth == "full":
                described += _nodes(world, cluster, machines, processes)
        for balancer in store.list("load_balancer"):
            described += _balancer(world, store, balancer)
        described += map(_nat_gateway, store.list("vpc_nat_gateway"))
    finally:
        store.close()
    return described


def _process(world: World, status: ProcessStatus) -> Row:
    product, address = PRODUCTS.get(status.name, (_product(status.name), ""))
    if status.name == "proxy":
        address = f"127.0.0.1:{world.proxy_port}"
    return Row(
        name=status.name,
        product=product,
        state=status.state.lower(),
        address=address,
        memory_mib=_resident(status.pid) // MIB if status.pid else 0,
    )


def _product(name: str) -> str:
    if name.startswith("rgw-"):
        return f"Spaces: {name.removeprefix('rgw-')}"
    if name.startswith("node-"):
        return "simulated node"
    if name.startswith("simulated-balancer-"):
        return "simulated load balancer"
    if name.startswith(balancers.PREFIX):
        return "Load balancer: HAProxy"
    return "process"


def _droplet(droplet: Resource, machines: set[str], processes: dict[str, ProcessStatus]) -> Row:
    name = droplet_machine(int(droplet.id))
    real = name in machines
    return Row(
        name=droplet.body["name"],
        product="Droplet" if real else "Droplet (simulated)",
        state=_state(droplet.body["status"], processes.get(program_of(name)) if real else None),
        address=", ".join(filter(None, (droplet.private["public_ip"], droplet.private["private_ip"]))),
        memory_mib=cgroups.memory(name) // MIB if real else 0,
    )


def _cluster(cluster: Resource, machines: set[str], processes: dict[str, ProcessStatus]) -> Row:
    [primary] = [node for node in cluster_nodes(cluster) if node.number == primary_of(cluster)]
    name = cluster_machine(cluster.id, primary.number)
    real = name in machines
    return Row(
        name=cluster.body["name"],
        product="PostgreSQL cluster",
        state=_state(cluster.body["status"], processes.get(program_of(name)) if real else None),
        address=f"{primary.public_ip}, {primary.private_ip}" if real else "127.0.0.1",
        # That of several nodes is in a line for each.
        memory_mib=cgroups.memory(name) // MIB if real and len(cluster_nodes(cluster)) == 1 else 0,
    )


def _nodes(world: World, cluster: Resource, machines: set[str], processes: dict[str, ProcessStatus]) -> Iterator[Row]:
    """Describe the nodes of a cluster that has several: which is the primary, and how far the others are behind."""
    made = {node.number: cluster_machine(cluster.id, node.number) for node in cluster_nodes(cluster)}
    states = Clusters(world, Supervisor(world)).states(cluster.id) if made[primary_of(cluster)] in machines else {}
    for node in cluster_nodes(cluster):
        name = made[node.number]
        process = processes.get(program_of(name))
        off = "its machine is off" if process is None or not process.pid else ""
        yield Row(
            name=f"{cluster.body['name']}: node {node.number}",
            product="PostgreSQL node",
            state=off or states.get(node.number, "creating"),
            address=f"{node.public_ip}, {node.private_ip}",
            memory_mib=cgroups.memory(name) // MIB if name in machines else 0,
        )


def _balancer(world: World, store: Store, balancer: Resource) -> list[Row]:
    """Describe a load balancer, and at depth `full`, where there is traffic, its members as it sees them."""
    public, private, name = balancer.private["public_ip"], balancer.private["private_ip"], balancer.body["name"]
    real = world.depth == "full"
    product = "Load balancer" if real else "Load balancer (simulated)"
    rows = [
        Row(name=name, product=product, state=balancer.body["status"], address=f"{public}, {private}", memory_mib=0)
    ]
    names = {droplet.private["private_ip"]: droplet.body["name"] for droplet in store.list("droplet")}
    for address, health in balancers.health(world, balancer.id).items() if real else ():
        member = f"{name}: {names.get(address, 'a Droplet')}"
        rows.append(Row(name=member, product="member", state=health, address=address, memory_mib=0))
    return rows


def _nat_gateway(gateway: Resource) -> Row:
    return Row(
        name=gateway.body["name"],
        product="VPC NAT gateway",
        state=gateway.body["state"].lower(),
        address=f"{gateway.private['public_ip']}, {gateway.private['private_ip']}",
        memory_mib=0,
    )


def _state(answered: str, process: ProcessStatus | None) -> str:
    """Say what the API answers, and the machine's own state where it says otherwise."""
    if process is not None and not process.pid and answered in {"active", "online"}:
        return f"{answered}, but its machine is off"
    return answered


def _resident(pid: int) -> int:
    """Resident memory of a process and those it started, in bytes."""
    total = 0
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        # Proportional: workers share most of their master's pages.
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(_resident(int(child)) for child in (task / "children").read_text().split())
    return total
