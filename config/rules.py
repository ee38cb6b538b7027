"""Rules between a stack's settings: each yields its problems as `path: rule, value; fix`."""

import tomllib
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path

import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from config import NAMESPACE, ROOT
from config.app import DROPLET_PYTHON
from config.network import DEFAULT_CIDR
from config.problems import did_you_mean
from config.stack import StackConfig
from contract import environment
from sizing import plans
from sizing.editions import EDITIONS, STANDARD

PATCH_RELEASES = 50  # more than a version of CPython ever had


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
    for extension in config.database.extensions:
        if extension not in edition.extensions:
            yield (
                f"database.extensions: must be among {', '.join(edition.extensions)} in the edition {edition.name}, "
                f'got "{extension}"; leave it out'
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
                "lower web.workers or web.threads, or use a smaller web.size"
            )
        else:
            yield (
                f"pool.size: pool and reserve do not fit the plan, got {problem}; "
                "lower pool.size or database.directConnections, or use a larger database.size"
            )


def _ssh_rules(config: StackConfig) -> Iterator[str]:
    if config.network.ssh_from and not config.network.ssh_keys:
        yield "network.sshFrom: opens SSH, but network.sshKeys is empty, so nobody could log in; name a key"


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


def _app_rules(config: StackConfig) -> Iterator[str]:
    folder = config.app.folder
    if not (folder / "manage.py").is_file():
        yield (
            f'app.path: must be the folder of a Django project, got "{config.app.path}", which has no manage.py; '
            "a relative path starts where Pulumi.yaml is"
        )
        return
    if not any((folder / file).is_file() for file in ("uv.lock", "requirements.txt")):
        yield f'app.path: must hold uv.lock or requirements.txt, got "{config.app.path}"; run `uv lock` there'
    yield from _python_rules(config, folder / "pyproject.toml")
    for setting, module in _modules(config):
        parts = module.split(".")
        # A src layout or an installed package can't be seen from here: only a package that is there is looked into.
        package = folder / parts[0]
        if package.is_dir() and not _is_module(folder.joinpath(*parts)):
            expected = Path(*parts).with_suffix(".py")
            yield f'app.{setting}: must name a module below app.path, got "{module}"; {expected} is not there'


def _modules(config: StackConfig) -> tuple[tuple[str, str], ...]:
    return (("wsgi", config.app.wsgi.partition(":")[0]), ("settings", config.app.settings))


def _file_rules(config: StackConfig) -> Iterator[str]:
    """Judge what would go into a release, where there is a project and it is the one to be released."""
    app = config.app
    if app.release is not None or not (app.folder / "manage.py").is_file():
        return
    files = app.files
    yield from files.problems
    if files.problems:
        return
    for name in ("manage.py", "pyproject.toml", "uv.lock", "requirements.txt"):
        if why := files.why_left_out(name):
            # Who has both has one too many for uv; who has one needs it.
            other = {"uv.lock": "requirements.txt", "requirements.txt": "uv.lock"}.get(name)
            if other not in files.names:
                yield f"app.path: must take {name} along, which is left out: {why}; name it in app.include"
    for setting, module in _modules(config):
        path = module.replace(".", "/")
        for name in (f"{path}.py", f"{path}/__init__.py"):
            if why := files.why_left_out(name):
                yield (
                    f'app.{setting}: must name a module that is released, got "{module}", and {name} is left out: '
                    f"{why}; name it in app.include"
                )


def _python_rules(config: StackConfig, pyproject: Path) -> Iterator[str]:
    """Compare the release's Python with what the project says of itself."""
    if not pyproject.is_file():
        return
    try:
        required = tomllib.loads(pyproject.read_text()).get("project", {}).get("requires-python")
        accepted = SpecifierSet(required) if required is not None else None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, InvalidSpecifier, AttributeError, TypeError) as error:
        yield f"app.path: its pyproject.toml must be valid, got {error}; correct it"
        return
    version = config.app.python or DROPLET_PYTHON
    # Which patch release there will be is not known here: one that fits is enough.
    if accepted is not None and not any(accepted.contains(f"{version}.{patch}") for patch in range(PATCH_RELEASES)):
        got = f'got "{version}"' if config.app.python else f"got none, which is the Droplet's own {version}"
        yield f"app.python: must fit the project's requires-python ({required}), {got}; change one of them"


def _is_module(path: Path) -> bool:
    return path.with_name(f"{path.name}.py").is_file() or (path / "__init__.py").is_file()


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
    _pool_rules,
    _ssh_rules,
    _environment_rules,
    _app_rules,
    _file_rules,
    _production_rules,
)
