"""The stack's settings: the only reader of pulumi.Config, validated as a whole before anything is planned."""

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast
from urllib.parse import urlsplit

import pulumi
import pulumi.runtime.config as runtime_config
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, PydanticCustomError

from components import environment, sizing

NAMESPACE = "django-do"
ROOT = Path(__file__).resolve().parent

# Regions with Spaces (the provider's list) and Managed PostgreSQL (DigitalOcean's OpenAPI), as of November 2026.
REGIONS = ("ams3", "atl1", "blr1", "fra1", "lon1", "nyc3", "sfo2", "sfo3", "sgp1", "syd1", "tor1")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# 15 brought the rules for the schema "public" that the grants rely on.
DATABASE_VERSIONS = ("15", "16", "17", "18")
CDN_TTLS = (60, 600, 3600, 86400, 604800)
PRIVATE_RANGES = (IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16"))
# DigitalOcean accepts 100 trusted sources in all; one is the Droplets' tag.
TRUSTED_SOURCES = 99

# Values below these paths are never shown, not even in the message that rejects them.
_HIDDEN = ("app", "app.env", "app.secrets", "storage", "storage.keys")


class ConfigError(pulumi.RunError):
    """Everything that is wrong with a stack's settings, one problem per line; Pulumi prints it without a traceback."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"the settings of this stack have {count}:\n{lines}")


def _one_of(*allowed: str | int) -> AfterValidator:
    def check(value: str | int) -> str | int:
        if value not in allowed:
            raise PydanticCustomError("one_of", "must be one of {allowed}", {"allowed": ", ".join(map(str, allowed))})
        return value

    return AfterValidator(check)


def _pattern(pattern: str, rule: str) -> AfterValidator:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise PydanticCustomError("pattern", "{rule}", {"rule": f"must be {rule}"})
        return value

    return AfterValidator(check)


def _auto_or_number(highest: int) -> BeforeValidator:
    """Accept "auto" or 1 to `highest`: one message, where a plain union would report each of its branches."""

    def check(value: object) -> object:
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        if number != "auto" and not (type(number) is int and 1 <= number <= highest):
            raise PydanticCustomError(
                "auto", "must be auto or a whole number from 1 to {highest}", {"highest": highest}
            )
        return number

    return BeforeValidator(check)


def _network(value: object) -> str:
    """Normalise an IPv4 address or CIDR: DigitalOcean's trusted sources know no IPv6."""
    try:
        network = IPv4Network(str(value))
    except ValueError:
        raise PydanticCustomError("network", "must be an IPv4 address or a CIDR without host bits") from None
    if network.prefixlen == 0:
        raise PydanticCustomError("network", "must not be the whole internet")
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def _vpc_range(value: str) -> str:
    try:
        network = IPv4Network(value)
    except ValueError:
        raise PydanticCustomError("cidr", "must be an IPv4 CIDR without host bits") from None
    private = any(network.subnet_of(private) for private in PRIVATE_RANGES)
    if not private or not 16 <= network.prefixlen <= 28:  # noqa: PLR2004 the sizes a VPC may have, by DigitalOcean's API
        raise PydanticCustomError("cidr", "must be a private range (RFC 1918) between /16 and /28")
    return str(network)


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.netloc or value != f"https://{parts.netloc}" or "*" in value:
        raise PydanticCustomError("origin", "must be an exact https origin without a path, such as https://example.com")
    return value


def _database_plan(value: str) -> str:
    try:
        sizing.database_memory(value)
    except sizing.UnknownPlanError:
        raise PydanticCustomError("plan", "must be a PostgreSQL plan") from None
    return value


def _droplet_size(value: str) -> str:
    try:
        sizing.droplet_plan(value)
    except sizing.UnknownPlanError:
        raise PydanticCustomError("plan", "must be a Droplet size") from None
    return value


_HOSTNAME = r"(?=.{4,253})(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])"

Network4 = Annotated[str, BeforeValidator(_network)]
Origin = Annotated[str, AfterValidator(_origin)]
VariableName = Annotated[str, _pattern(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable")]
Seconds = Annotated[int, Field(ge=1, le=3600)]


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        # A number where text belongs ("version: 17") means its digits.
        coerce_numbers_to_str=True,
        hide_input_in_errors=True,
    )


class NetworkConfig(_Section):
    """The private network, and who may log in to its machines."""

    cidr: Annotated[str, AfterValidator(_vpc_range)] = Field(
        default="10.20.0.0/20", description="the VPC's range; it must not overlap another VPC of the account"
    )
    ssh_from: tuple[Network4, ...] = Field(default=(), description="addresses that may open SSH; none by default")
    ssh_keys: tuple[str, ...] = Field(default=(), description="fingerprints or ids of the account's SSH keys")


class MaintenanceConfig(_Section):
    """When DigitalOcean may update the cluster (UTC)."""

    day: Annotated[str, _one_of(*DAYS)] = Field(default="sunday", description="a day of the week, in lower case")
    hour: Annotated[str, _pattern(r"([01]\d|2[0-3]):[0-5]\d", 'a time such as "03:00"')] = Field(
        default="03:00", description='hour and minute in UTC, quoted, such as "03:00"'
    )


class TimeoutsConfig(_Section):
    """Limits that PostgreSQL puts on the application's role, in seconds."""

    statement: Seconds = Field(default=30, description="longest statement, in seconds (1 to 3600)")
    lock: Seconds = Field(default=10, description="longest wait for a lock, in seconds (1 to 3600)")
    idle_in_transaction: Seconds = Field(default=60, description="longest idle transaction, in seconds (1 to 3600)")


class DatabaseConfig(_Section):
    """The PostgreSQL cluster."""

    size: Annotated[str, AfterValidator(_database_plan)] = Field(
        description="a plan such as db-s-1vcpu-2gb; components/sizing.py lists them"
    )
    nodes: int = Field(default=1, ge=1, le=3, description="nodes of the cluster, standby nodes included: 1 to 3")
    version: Annotated[str, _one_of(*DATABASE_VERSIONS)] = Field(
        default="17", description="major version of PostgreSQL"
    )
    direct_connections: int = Field(
        default=2, ge=0, le=100, description="backends kept out of the pool for migrations and operators, 0 to 100"
    )
    trusted_sources: tuple[Network4, ...] = Field(
        default=(),
        max_length=TRUSTED_SOURCES,
        description=f"IPv4 addresses or CIDRs that may connect beside the Droplets, at most {TRUSTED_SOURCES}",
    )
    extensions: tuple[Annotated[str, _pattern(r"[a-z][a-z0-9_-]*", "the name of an extension")], ...] = Field(
        default=(), description="PostgreSQL extensions to create, such as citext"
    )
    maintenance: MaintenanceConfig = Field(default_factory=MaintenanceConfig, description="day and hour of updates")
    timeouts: TimeoutsConfig = Field(
        default_factory=TimeoutsConfig, description="statement, lock and idleInTransaction, in seconds"
    )


class PoolConfig(_Section):
    """The transaction-mode connection pool."""

    size: Annotated[Literal["auto"] | int, _auto_or_number(sizing.CONNECTIONS_CAP)] = Field(
        default="auto", description="auto (all that the plan leaves) or a number of backend connections"
    )


class CorsConfig(_Section):
    """Which other origins may read static files."""

    origins: tuple[Origin, ...] = Field(
        default=(), description="origins whose pages may read static files; by default the site's own"
    )
    max_age: int = Field(
        default=600, ge=0, le=86400, description="seconds that a browser may remember the answer, 0 to 86400"
    )


class CdnConfig(_Section):
    """The CDN in front of static files."""

    ttl: Annotated[int, _one_of(*CDN_TTLS)] = Field(
        default=3600, description="seconds that the CDN keeps a file: 60, 600, 3600, 86400 or 604800"
    )


class SpacesKeyConfig(_Section):
    """An existing Spaces key."""

    access_key: SecretStr = Field(min_length=1, description="the key's id; set it with --secret")
    secret_key: SecretStr = Field(min_length=1, description="the key's secret; set it with --secret")


class SpacesKeysConfig(_Section):
    """Keys made by hand, for accounts or tokens that can't create scoped ones."""

    agent: SpacesKeyConfig = Field(description="may read releases, write assets and state")
    app: SpacesKeyConfig = Field(description="may read and write media")


class StorageConfig(_Section):
    """The Spaces."""

    cors: CorsConfig = Field(default_factory=CorsConfig, description="origins and maxAge")
    cdn: CdnConfig = Field(default_factory=CdnConfig, description="ttl")
    force_destroy: bool = Field(
        default=False, description="true lets `pulumi destroy` delete static files and uploaded media; false refuses"
    )
    keys: SpacesKeysConfig | None = Field(default=None, description="agent and app, each with accessKey and secretKey")


class WebConfig(_Section):
    """The Droplets."""

    count: int = Field(
        default=1,
        ge=1,
        le=50,
        description="number of Droplets; more than 1 needs the load balancer, which is not supported yet",
    )
    size: Annotated[str, AfterValidator(_droplet_size)] = Field(description="a Droplet size such as s-1vcpu-1gb")
    image: Annotated[str, _pattern(r"debian-13-x64|[1-9]\d*", "debian-13-x64 or the id of a snapshot of it")] = Field(
        default="debian-13-x64", description="debian-13-x64, or the number of a snapshot of it"
    )
    packages: tuple[Annotated[str, _pattern(r"[a-z0-9][a-z0-9+.-]+", "the name of a Debian package")], ...] = Field(
        default=(), description="Debian packages that the app needs"
    )
    workers: Annotated[Literal["auto"] | int, _auto_or_number(64)] = Field(
        default="auto", description="auto (from the size) or Gunicorn workers of one Droplet"
    )
    threads: Annotated[Literal["auto"] | int, _auto_or_number(64)] = Field(
        default="auto", description=f"auto ({sizing.DEFAULT_THREADS}) or threads of one worker"
    )
    load_balancer: bool = Field(default=False, description="not supported yet: leave it out")
    acme_email: (
        Annotated[str, _pattern(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", "an e-mail address")] | None
    ) = Field(default=None, description="where Let's Encrypt may write to")


class AppConfig(_Section):
    """The Django project."""

    path: Annotated[str, StringConstraints(min_length=1)] = Field(default="app", description="folder of manage.py")
    wsgi: Annotated[str, _pattern(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", 'such as "mysite.wsgi:application"')] = Field(
        default="mysite.wsgi:application", description="module and callable that Gunicorn serves"
    )
    settings: Annotated[str, _pattern(r"[A-Za-z_][\w.]*", "a module's dotted name")] = Field(
        default="mysite.settings", description="DJANGO_SETTINGS_MODULE"
    )
    env: dict[VariableName, str] = Field(
        default_factory=dict, description="more environment variables; ${NAME} stands for one of the contract's"
    )
    secrets: dict[VariableName, SecretStr] = Field(
        default_factory=dict, description="the same, for secrets: pulumi config set --secret --path app.secrets.NAME"
    )

    release: (
        Annotated[str, _pattern(r"[0-9a-f]{8}-[0-9a-f]{8}", "the id of a release, such as 0a1b2c3d-4e5f6a7b")] | None
    ) = Field(default=None, description="an earlier release to go back to; leave it out to release the code at path")

    @property
    def folder(self) -> Path:
        """The project's folder; a relative path starts where Pulumi.yaml is."""
        return ROOT / self.path


class StackConfig(_Section):
    """All settings of one stack."""

    name: Annotated[str, _pattern(r"[a-z][a-z0-9-]{1,28}[a-z0-9]", "3 to 30 lower-case letters, digits and dashes")] = (
        Field(description="unique in the account: the prefix of everything's name")
    )
    region: Annotated[str, _one_of(*REGIONS)] = Field(
        description="a region that has both Spaces and Managed PostgreSQL"
    )
    domain: Annotated[str, _pattern(_HOSTNAME, "a host name in lower case")] = Field(
        description="the site's name, without https:// and without a dot at the end"
    )
    dns: Literal["managed", "external"] = Field(
        default="managed",
        description="managed (a domain at DigitalOcean, made here) or external (the record is made by you)",
    )
    network: NetworkConfig = Field(default_factory=NetworkConfig, description="cidr, sshFrom, sshKeys")
    database: DatabaseConfig = Field(description="at least size")
    pool: PoolConfig = Field(default_factory=PoolConfig, description="size")
    storage: StorageConfig = Field(default_factory=StorageConfig, description="cors, cdn, forceDestroy, keys")
    web: WebConfig = Field(description="at least size")
    app: AppConfig = Field(default_factory=AppConfig, description="path, wsgi, settings, env, secrets, release")
    protect: bool = Field(
        default=True, description="true refuses to delete the database, media, secrets, address and domain"
    )
    production: bool = Field(
        default=False, description="true makes it an error to lack what a production site needs, and names it"
    )

    @property
    def url(self) -> str:
        """The site's address."""
        return f"https://{self.domain}"

    @property
    def cors_origins(self) -> tuple[str, ...]:
        """Origins that may read static files: the site's own unless others are named."""
        return self.storage.cors.origins or (self.url,)

    @property
    def connection_budget(self) -> sizing.ConnectionBudget:
        """Clients and backends of this stack."""
        available = sizing.pool_size(self.database.size, self.database.direct_connections)
        workers = sizing.gunicorn_workers(sizing.droplet_plan(self.web.size))
        return sizing.ConnectionBudget(
            max_connections=sizing.max_connections(self.database.size),
            direct_connections=self.database.direct_connections,
            pool_size=available if self.pool.size == "auto" else self.pool.size,
            droplets=self.web.count,
            workers=workers if self.web.workers == "auto" else self.web.workers,
            threads=sizing.DEFAULT_THREADS if self.web.threads == "auto" else self.web.threads,
        )

    @classmethod
    def load(cls) -> Self:
        """Read and check the settings of the stack that is being run; raises ConfigError with every problem."""
        return cls.parse(_settings())

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Self:
        """Check settings as they are in YAML; raises ConfigError with every problem at once."""
        given = {key: value for key, value in settings.items() if value is not None}
        problems: list[str] = []
        config: Self | None = None
        try:
            config = cls.model_validate(given)
        except ValidationError as error:
            problems += [_describe(details) for details in error.errors()]
        # Rules between settings are checked as far as their own settings are right, so that one run names everything.
        candidate = config or cast("Self", _partial(cls, given))
        for rule in _RULES:
            try:
                problems += rule(candidate)
            except AttributeError:
                if config is not None:
                    raise  # a complete configuration has every attribute: this is a mistake in the rule
        if problems or config is None:
            raise ConfigError(problems)
        return config


def _settings() -> dict[str, Any]:
    """All settings of the namespace, structured values decoded, secrets in plain."""
    config = pulumi.Config(NAMESPACE)
    sections = {
        field.alias for field in StackConfig.model_fields.values() if isinstance(field.annotation, type(_Section))
    }
    # pulumi.Config can't list its keys, and a misspelt section must not pass unnoticed.
    known = {*runtime_config.CONFIG.get(), *runtime_config.get_config_env()}
    keys = {key.removeprefix(f"{NAMESPACE}:") for key in known if key.startswith(f"{NAMESPACE}:")}
    settings: dict[str, Any] = {}
    for key in sorted(keys):
        try:
            settings[key] = config.get_object(key) if key in sections else config.get(key)
        except pulumi.ConfigTypeError:
            settings[key] = config.get(key)  # plain text where a section belongs: validation says so
    return settings


def _partial(model: type[_Section], given: Mapping[str, Any]) -> _Section:
    """Build a model without the fields that are missing or wrong: reading one of those raises AttributeError."""
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        annotation: Any = field.annotation
        value = given.get(field.alias or name)
        if value is None:
            if not field.is_required():
                values[name] = field.get_default(call_default_factory=True, validated_data={})
        elif isinstance(annotation, type(_Section)) and isinstance(value, dict):
            values[name] = _partial(annotation, value)
        else:
            whole: Any = Annotated[annotation, *field.metadata] if field.metadata else annotation
            try:
                values[name] = TypeAdapter(whole, config=None).validate_python(value)
            except ValidationError:
                continue  # reported by the whole model's validation
    partial = model.model_construct()
    partial.__dict__.clear()
    partial.__dict__.update(values)
    return partial


def _describe(details: ErrorDetails) -> str:
    """Turn one of pydantic's errors into `path: rule, value, fix`."""
    location = [part for part in details["loc"] if part != "[key]"]
    path = ".".join(str(part) for part in location)
    parent, description = _find(location)
    if details["type"] == "extra_forbidden":
        name = str(location[-1])
        close = difflib.get_close_matches(name, parent, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return f"{path}: unknown setting; {hint}known here: {', '.join(parent)}"
    if details["type"] == "missing":
        return f"{path}: required, but not set; {description}"
    rule = details["msg"].removeprefix("Input ")
    return f"{path}: {rule}, {_shown(path, details['input'])}; {description}"


def _find(location: Sequence[str | int]) -> tuple[list[str], str]:
    """Names beside a setting, and the description of the setting or of the nearest one around it."""
    model: type[_Section] | None = StackConfig
    names: list[str] = []
    description = ""
    for part in location:
        if model is None:
            break
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        names = sorted(fields)
        if part not in fields:
            break
        field = fields[str(part)]
        description = field.description or description
        annotation: Any = field.annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next((option for option in options if isinstance(option, type(_Section))), None)
    return names, description


def _shown(path: str, value: object) -> str:
    if path in _HIDDEN or any(path.startswith(f"{hidden}.") for hidden in _HIDDEN if "." in hidden):
        return "got a value that is not shown"
    if isinstance(value, dict | list):
        return f"got a {'mapping' if isinstance(value, dict) else 'list'}"
    return f"got {json.dumps(value, default=str)}"


def _node_rules(config: StackConfig) -> Iterator[str]:
    if config.database.nodes > 1 and sizing.database_memory(config.database.size) == 1:
        yield (
            f"database.nodes: the 1 GiB plans have no standby nodes, got {config.database.nodes}; "
            "choose a larger database.size or 1 node"
        )


def _pool_rules(config: StackConfig) -> Iterator[str]:
    budget = config.connection_budget
    for problem in budget.problems():
        if problem == budget.demand():
            yield (
                f"web: more clients than a pool accepts, got {problem}; "
                "lower web.count, web.workers or web.threads, or use a smaller web.size"
            )
        else:
            yield (
                f"pool.size: pool and reserve do not fit the plan, got {problem}; "
                "lower pool.size or database.directConnections, or use a larger database.size"
            )


def _load_balancer_rules(config: StackConfig) -> Iterator[str]:
    if config.web.load_balancer:
        yield "web.loadBalancer: not supported yet, got true; leave it out"
    if config.web.count > 1:
        yield (
            f"web.count: more than one Droplet needs the load balancer, which is not supported yet, "
            f"got {config.web.count}; use 1"
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
                yield (
                    f"app.env.{name}: refers to ${{{reference}}}, which is not a variable of the contract; "
                    f"known: {', '.join(sorted(environment.REFERABLE))}"
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
    for setting, module in (("wsgi", config.app.wsgi.partition(":")[0]), ("settings", config.app.settings)):
        parts = module.split(".")
        # A src layout or an installed package can't be seen from here: only a package that is there is looked into.
        package = folder / parts[0]
        if package.is_dir() and not _is_module(folder.joinpath(*parts)):
            expected = Path(*parts).with_suffix(".py")
            yield f'app.{setting}: must name a module below app.path, got "{module}"; {expected} is not there'


def _is_module(path: Path) -> bool:
    return path.with_name(f"{path.name}.py").is_file() or (path / "__init__.py").is_file()


def _production_rules(config: StackConfig) -> Iterator[str]:
    if not config.production:
        return
    missing = []
    if not config.protect:
        missing.append("protect: true")
    if config.database.nodes < 2:  # noqa: PLR2004 one primary and one standby
        missing.append("database.nodes: 2 or more")
    missing.append("two Droplets behind the load balancer, backups and alerts, which are not supported yet")
    yield f"production: requires what is missing here, got true; missing: {'; '.join(missing)}"


_RULES: tuple[Callable[[StackConfig], Iterator[str]], ...] = (
    _node_rules,
    _pool_rules,
    _load_balancer_rules,
    _ssh_rules,
    _environment_rules,
    _app_rules,
    _production_rules,
)
