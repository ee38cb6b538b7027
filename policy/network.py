"""Rules for what the internet reaches: ports of Droplets, and tags that firewalls go by."""

from policy.database import everywhere
from policy.resources import UNKNOWN, Resource, Stack, is_known, is_missing, items
from policy.rule import Findings, Problems, ResourceRule, StackRule

SSH = 22


def includes_ssh(port_range: object) -> bool:
    """Tell whether a Cloud Firewall's port range has port 22 in it; no range and 0 are all ports."""
    if port_range is UNKNOWN:
        return False
    text = str(port_range or "all")
    if text in {"all", "0"}:
        return True
    first, _, last = text.partition("-")
    return first.isdecimal() and (last or first).isdecimal() and int(first) <= SSH <= int(last or first)


def ssh_closed(resource: Resource) -> Problems:
    """Refuse SSH from everywhere, in one rule or put together from several."""
    sources = [
        source
        for path, rule in resource.items("inboundRules")
        if rule.get("protocol") == "tcp" and includes_ssh(rule.get("portRange"))
        for _, source in items(path, rule.get("sourceAddresses"))
    ]
    if found := everywhere(sources):
        yield f'inboundRules: must not open port {SSH} to the whole internet, got "{", ".join(found)}"'


def behind_firewall(stack: Stack) -> Findings:
    """Find Droplets that no Cloud Firewall names, by tag or by id."""
    firewalls = stack.of("Firewall")
    for droplet in stack.of("Droplet"):
        if not any(_covers(firewall, droplet) for firewall in firewalls):
            yield droplet, "tags: must include one that a Firewall names, got none"


def _covers(firewall: Resource, droplet: Resource) -> bool:
    named, tags = firewall.get("tags"), droplet.get("tags")
    if not is_known(named) or not is_known(tags):
        return True  # tags of a stack that is made for the first time may be unknown
    return bool(set(named or ()) & set(tags or ())) or droplet.urn in firewall.uses.get("dropletIds", ())


def tagged(resource: Resource) -> Problems:
    """Refuse what can't be told to belong to the stack."""
    if is_missing(resource.get("tags")):
        yield "tags: must not be empty, got []"


RULES = (
    ResourceRule(
        name="ssh-not-public",
        kinds=("Firewall",),
        why="Port 22 is tried by everybody all day; a key that leaked must not be enough.",
        fix="name addresses in network.sshFrom, or open no SSH at all",
        check=ssh_closed,
    ),
    StackRule(
        name="droplet-behind-firewall",
        kinds=("Droplet", "Firewall"),
        why="Without a Cloud Firewall all ports of a Droplet are open to the internet, SSH among them.",
        fix="give the Droplet the tag of the stack's Firewall",
        check=behind_firewall,
    ),
    ResourceRule(
        name="tagged",
        kinds=("Droplet", "DatabaseCluster"),
        why="Firewalls and trusted sources go by tag, and so do people who look for what costs money.",
        fix="set tags to the stack's tag",
        check=tagged,
    ),
)
