"""Rules between a stack's settings: each yields its problems as `path: rule, value; fix`."""

import re
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path

import yaml

from config import NAMESPACE, ROOT
from config.network import DEFAULT_CIDR, is_private
from config.problems import did_you_mean
from config.project.files import file_rules
from config.project.modules import settings_rules, wsgi_rules
from config.project.rules import project_rules, python_rules
from config.stack import StackConfig
from contract import environment
from sizing import plans
from sizing.editions import EDITIONS, STANDARD


def _edition_rules(config: StackConfig) -> Iterator[str]:
    edition = EDITIONS[config.database.edition]
    if config.database.size not in edition.plans:
        yield (
            f'database.size: must be a plan of the edition {edition.name}, got "{config.database.size}"; '
            "choose one from sizing/editions.py, or another database.edition"
        )
    if config.database.version not in edition.versions:
        yield (
            f"database.version: must be one of {', '.join(edition.versions)} in the edition {edition.name}, "
            f'got "{config.database.version}"; choose one of them, or another database.edition'
        )
    if edition is not STANDARD and config.database.accept_plan:
        yield (
            f"database.acceptPlan: is for new clusters of the edition {STANDARD.name}, got true with {edition.name}; "
            "leave it out"
        )


def _extension_rules(config: StackConfig) -> Iterator[str]:
    edition = EDITIONS[config.database.edition]
    # The other edition takes no more than these.
    fix = "leave it out, or create it by hand as doadmin (docs/not-yet.md)" if edition is STANDARD else "leave it out"
    for extension in config.database.extensions:
        if extension not in edition.extensions:
            yield (
                f"database.extensions: must be among {', '.join(edition.extensions)} in the edition {edition.name}, "
                f'got "{extension}"; {fix}'
            )


def _node_rules(config: StackConfig) -> Iterator[str]:
    if config.database.nodes > 1 and config.database.accept_no_failover:
        yield (
            f"database.acceptNoFailover: a cluster of {config.database.nodes} nodes has failover, got true; "
            "leave it out, or use 1 node"
        )
    if config.database.nodes > 1 and plans.database_memory(config.database.size) == 1:
        yield (
            f"database.nodes: the 1 GiB plans have no standby nodes, got {config.database.nodes}; "
            "choose 1 node, or a larger database.size where the cluster may have a standby (docs/cost.md)"
        )


def _network_rules(config: StackConfig) -> Iterator[str]:
    """Networks of one account must not overlap, which DigitalOcean would say only when the stack is being made."""
    name, cidr = config.name, IPv4Network(config.network.cidr)
    for path in sorted(ROOT.glob("Pulumi.*.yaml")):
        # The stack itself is among them; it is known by its name.
        for other, taken in _networks(path):
            if other != name and cidr.overlaps(taken):
                yield (
                    f'network.cidr: must not overlap the network of another stack, got "{cidr}", '
                    f"and {path.name} has {taken}; choose another range"
                )


def _address_rules(config: StackConfig) -> Iterator[str]:
    """Each Droplet needs an address of the VPC, twice while all are replaced, and so does what is beside them."""
    others = config.database.nodes + config.web.load_balancer
    needed = 2 * config.web.count + others
    most = IPv4Network(config.network.cidr).num_addresses - 2  # its first and its last are nobody's
    if needed > most:
        yield (
            f"web.count: must fit network.cidr, which has {most} addresses, got {config.web.count} Droplets, twice "
            f"that while they are replaced, and {others} beside them; lower it, or make a stack with a larger "
            "network.cidr"
        )


def _networks(path: Path) -> Iterator[tuple[str, IPv4Network]]:
    """Name and network of another stack; nothing when its settings are wrong, which is said when it is run."""
    try:
        settings = yaml.safe_load(path.read_text())["config"]
        network = settings.get(f"{NAMESPACE}:network", {}).get("cidr", DEFAULT_CIDR)
        yield settings[f"{NAMESPACE}:name"], IPv4Network(network)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        return


def _pool_rules(config: StackConfig) -> Iterator[str]:
    budget = config.connection_budget
    for problem in budget.problems():
        if problem == budget.demand():
            yield (
                f"web: more clients than a pool accepts, got {problem}; "
                "lower web.workers or web.threads, use a smaller web.size, or fewer Droplets (web.count)"
            )
        else:
            yield (
                f"pool.size: pool and reserve do not fit the plan, got {problem}; "
                "lower pool.size or database.directConnections, or use a larger database.size"
            )


def _web_rules(config: StackConfig) -> Iterator[str]:
    web = config.web
    if web.count > 1 and not web.load_balancer:
        yield (
            f"web.count: needs a load balancer above 1, got {web.count}; set web.loadBalancer: true, or choose a "
            "larger web.size"
        )
    if not web.public_network and not web.load_balancer:
        yield (
            "web.publicNetwork: needs a load balancer where it is false, got none: nobody could reach the Droplet; set "
            "web.loadBalancer: true, or leave publicNetwork out"
        )
    if web.max_unavailable > web.count:
        yield f"web.maxUnavailable: must be at most web.count, {web.count}, got {web.max_unavailable}; lower it"
    if web.load_balancer and config.dns == "external" and web.certificate is None:
        yield (
            "web.loadBalancer: needs a certificate, got none: DigitalOcean obtains one only with dns: managed; set "
            "web.certificate.chain and web.certificate.privateKey, or let DigitalOcean have the domain"
        )
    if web.certificate and not web.load_balancer:
        yield (
            "web.certificate: is for a load balancer, and there is none; leave it out (a Droplet obtains its own), or "
            "set web.loadBalancer: true"
        )
    if web.certificate:
        # Not imported without need: it takes 0.1 s.
        from config import certificate_rules  # noqa: PLC0415

        yield from certificate_rules.problems(web.certificate, config.domain)


def _ssh_rules(config: StackConfig) -> Iterator[str]:
    if config.network.ssh_from and not config.network.ssh_keys:
        yield "network.sshFrom: opens SSH, but network.sshKeys is empty, so nobody could log in; name a key"
    outside = [one for one in config.network.ssh_from if not is_private(IPv4Network(one))]
    if outside and not config.web.public_network:
        yield (
            f"network.sshFrom: must be private addresses (RFC 1918) with web.publicNetwork: false, got "
            f'"{", ".join(outside)}": Droplets without a public address are reached from their VPC, or one that is '
            "peered with it, alone; name a machine of it that people log in to first, or leave it out"
        )


def _environment_rules(config: StackConfig) -> Iterator[str]:
    for name in sorted(set(config.app.env) & set(config.app.secrets)):
        yield f"app.env.{name}: is also in app.secrets; keep one of them"
    for name, value in sorted(config.app.env.items()):
        for reference in environment.references(value):
            if reference not in environment.REFERABLE:
                known = sorted(environment.REFERABLE)
                yield (
                    f"app.env.{name}: refers to ${{{reference}}}, which is not a variable of the contract; "
                    f"{did_you_mean(reference, known)}known: {', '.join(known)}"
                )


def _quoting_rules(config: StackConfig) -> Iterator[str]:
    """Find what Pulumi has rewritten of the stack's own file: 010 as 8, 1e3 as 1000, True as true."""
    texts = {("env", name): value for name, value in config.app.env.items()}
    texts |= {("secrets", name): value.get_secret_value() for name, value in config.app.secrets.items()}
    if not any(re.fullmatch(r"-?\d+|true|false", value) for value in texts.values()):
        return
    for path in sorted(ROOT.glob("Pulumi.*.yaml")):
        # The stack's own; another file may have been named with --config-file, which can't be known here.
        written = _written(path, config.name)
        for place, value in sorted(texts.items()):
            text = written.get(place, value)
            if text != value and _is_read_as(text, value):
                name = place[1]
                yield (
                    f"app.{place[0]}.{name}: must be in quotes, since YAML writes it another way than {path.name}; "
                    f'write {name}: "…"'
                )


def _written(path: Path, name: str) -> dict[tuple[str, str], str]:
    """Return values without quotes below app.env and app.secrets, as they are written in the stack of that name."""
    try:
        config = _members(
            _members(yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)).get("config")
        )
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    own = config.get(f"{NAMESPACE}:name")
    if not isinstance(own, yaml.ScalarNode) or own.value != name:
        return {}
    app = _members(config.get(f"{NAMESPACE}:app"))
    return {
        (section, variable): node.value
        for section in ("env", "secrets")
        for variable, node in _members(app.get(section)).items()
        if isinstance(node, yaml.ScalarNode) and node.style is None
    }


def _members(node: yaml.Node | None) -> dict[str, yaml.Node]:
    return {key.value: value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}


def _is_read_as(written: str, value: str) -> bool:
    """Whether YAML makes that value of what is written; Pulumi reads octal numbers of both kinds."""
    readings = [written.lower()]
    for base in (0, 8, 10):
        try:
            readings.append(str(int(written, base)))
        except ValueError:
            continue
    try:
        readings.append(f"{float(written):.0f}")
    except ValueError:
        return value in readings
    return value in readings


def _production_rules(config: StackConfig) -> Iterator[str]:
    if not config.production:
        return
    # CORS needs no rule of its own: origins are always exact.
    required = {
        "protect: true": config.protect,
        "database.nodes: 2 or more, or database.acceptNoFailover: true": (
            config.database.nodes >= 2 or config.database.accept_no_failover  # noqa: PLR2004 a primary and a standby
        ),
        "web.backups: true": config.web.backups,
        "alerts.email or alerts.slack": bool(config.alerts.email or config.alerts.slack),
        "storage.forceDestroy: false": not config.storage.force_destroy,
    }
    for setting, is_there in required.items():
        if not is_there:
            yield f"production: requires {setting}, which is missing here, got true; set it, or leave production out"


RULES: tuple[Callable[[StackConfig], Iterator[str]], ...] = (
    _edition_rules,
    _extension_rules,
    _node_rules,
    _network_rules,
    _address_rules,
    _pool_rules,
    _web_rules,
    _ssh_rules,
    _environment_rules,
    _quoting_rules,
    project_rules,
    file_rules,
    python_rules,
    wsgi_rules,
    settings_rules,
    _production_rules,
)
