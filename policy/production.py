"""Rules for stacks that say `production: true`: what a site that matters needs to have."""

from policy.resources import UNKNOWN, Stack
from policy.rule import Findings, StackRule
from sizing.editions import ACCEPT_NO_FAILOVER

# What can't be made again: the data, and the names and addresses that others hold.
PROTECTED = ("DatabaseCluster", "Domain", "Secret")
ADDRESSES = ("ReservedIp", "LoadBalancer")  # that others have written down, where the name is not kept by the stack
MEDIA = "-media"  # ends the name of the Space with uploads; all others can be made again from the code
NODES = 2


def says_so(stack: Stack) -> Findings:
    """Find out that the pack can't know which rules hold."""
    if stack.production is None:
        yield None, "production: must be an output of the stack, true or false, got none"


def protected(stack: Stack) -> Findings:
    """Find what one command would delete for ever."""
    addresses = () if stack.of("DnsRecord") else ADDRESSES
    for resource in stack.of(*PROTECTED, *addresses, "SpacesBucket"):
        if not resource.protect and (resource.kind != "SpacesBucket" or resource.name.endswith(MEDIA)):
            yield resource, "protect: must be true in production, got false"


def standby(stack: Stack) -> Findings:
    """Find clusters that are down while their only node is, where nobody has accepted that."""
    if ACCEPT_NO_FAILOVER in stack.accepted:
        return
    for cluster in stack.of("DatabaseCluster"):
        nodes = cluster.get("nodeCount")
        if nodes is not UNKNOWN and (nodes or 0) < NODES:
            yield cluster, f"nodeCount: must be at least {NODES} in production, got {nodes or 0}"


def backups(stack: Stack) -> Findings:
    """Find Droplets of which there is no copy."""
    for droplet in stack.of("Droplet"):
        if droplet.get("backups") not in (True, UNKNOWN):
            yield droplet, "backups: must be true in production, got false"


def alerts(stack: Stack) -> Findings:
    """Find out that nobody would hear of anything."""
    if all(alert.get("enabled") is False for alert in stack.of("MonitorAlert")):
        yield None, "alerts: must be at least one MonitorAlert that is enabled in production, got none"


RULES = (
    StackRule(
        name="production-known",
        kinds=("Stack",),
        why="The rules for production must not be lost by forgetting a word.",
        fix='pulumi.export("production", config.production) in __main__.py',
        check=says_so,
    ),
    StackRule(
        name="production-protect",
        kinds=(*PROTECTED, *ADDRESSES, "SpacesBucket"),
        why="A database, uploads, an address and a domain do not come back after a mistaken destroy.",
        fix="set protect: true",
        check=protected,
        production=True,
    ),
    StackRule(
        name="production-standby",
        kinds=("DatabaseCluster",),
        why="A standby takes over in seconds; a single node is down for maintenance, too.",
        fix="set database.nodes to 2 or more, or database.acceptNoFailover to true",
        check=standby,
        production=True,
    ),
    StackRule(
        name="production-backups",
        kinds=("Droplet",),
        why="A backup of the machine is the evidence after a break-in, and the way back when images are gone.",
        fix="set web.backups to true",
        check=backups,
        production=True,
    ),
    StackRule(
        name="production-alerts",
        kinds=("MonitorAlert",),
        why="Full disks and busy machines are to be known before the visitors notice.",
        fix="set alerts.email or alerts.slack",
        check=alerts,
        production=True,
    ),
)
