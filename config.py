"""The stack's settings: the only reader of pulumi.Config, validated as a whole before anything is planned."""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
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

import config_rules
from sizing import budget, editions, plans
from sizing.editions import EDITIONS

NAMESPACE = config_rules.NAMESPACE
ROOT = config_rules.ROOT

# Regions with Spaces (the provider's list) and Managed PostgreSQL (DigitalOcean's OpenAPI), as of November 2026.
REGIONS = ("ams3", "atl1", "blr1", "fra1", "lon1", "nyc3", "sfo2", "sfo3", "sgp1", "syd1", "tor1")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DATABASE_VERSIONS = tuple(sorted({version for edition in EDITIONS.values() for version in edition.versions}))
CDN_TTLS = (60, 600, 3600, 86400, 604800)
PRIVATE_RANGES = (IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16"))
# DigitalOcean's own, in all regions (its VPC documentation; its release notes of 7 March 2025 for the last one).
RESERVED_RANGES = (
    IPv4Network("10.244.0.0/16"),
    IPv4Network("10.245.0.0/16"),
    IPv4Network("10.246.0.0/24"),
    IPv4Network("10.229.0.0/16"),
)
# CPython's versions with security support (PEP 664 to 790); the Droplet's own is Debian 13's.
PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
# DigitalOcean accepts 100 trusted sources in all; one is the Droplets' tag.
TRUSTED_SOURCES = 99

# Values below these paths are never shown, not even in the message that rejects them.
_HIDDEN = ("alerts", "alerts.slack", "app", "app.env", "app.secrets", "storage", "storage.keys")


class ConfigError(pulumi.RunError):
    """Everything that is wrong with a stack's settings, one problem per line; Pulumi prints it without a traceback."""

    def __init__(self, problems: Sequence[str]) -> None:
        # A name in the settings, or another library's message, may be of several lines.
        self.problems = tuple(" ".join(problem.split()) for problem in problems)
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
    for reserved in RESERVED_RANGES:
        if network.overlaps(reserved):
            raise PydanticCustomError(
                "cidr", "must not overlap {reserved}, which DigitalOcean keeps for itself", {"reserved": str(reserved)}
            )
    return str(network)


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise PydanticCustomError("unique", "must name nothing twice, but {twice} is there twice", {"twice": twice})
    return values


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.netloc or value != f"https://{parts.netloc}" or "*" in value:
        raise PydanticCustomError("origin", "must be an exact https origin without a path, such as https://example.com")
    return value


def _webhook(value: SecretStr) -> SecretStr:
    # The value is a password, so that no message shows it.
    if not value.get_secret_value().startswith("https://hooks.slack.com/services/"):
        raise PydanticCustomError("webhook", "must be a webhook of Slack, https://hooks.slack.com/services/…")
    return value


def _database_plan(value: str) -> str:
    try:
        plans.database_memory(value)
    except plans.UnknownPlanError:
        raise PydanticCustomError("plan", "must be a PostgreSQL plan") from None
    return value


def _droplet_size(value: str) -> str:
    try:
        plans.droplet_plan(value)
    except plans.UnknownPlanError:
        raise PydanticCustomError("plan", "must be a Droplet size") from None
    return value


_HOSTNAME = r"(?=.{4,253})(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])"

Unique = AfterValidator(_unique)
Email = Annotated[str, _pattern(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", "an e-mail address")]
Network4 = Annotated[str, BeforeValidator(_network)]
Origin = Annotated[str, AfterValidator(_origin)]
SshKeyName = Annotated[
    str, _pattern(r"[0-9a-f]{2}(:[0-9a-f]{2}){15}|[1-9]\d*", "a fingerprint (16 pairs of hex digits) or an id")
]
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
        default=config_rules.DEFAULT_CIDR,
        description="the VPC's range; it must not overlap another VPC of the account",
    )
    ssh_from: Annotated[tuple[Network4, ...], Unique] = Field(
        default=(), description="addresses that may open SSH; none by default"
    )
    ssh_keys: Annotated[tuple[SshKeyName, ...], Unique] = Field(
        default=(), description="fingerprints or ids of the account's SSH keys"
    )


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


class DatabaseStorageConfig(_Section):
    """The disk of each node."""

    autoscale: bool = Field(
        default=True, description="true lets the disk grow by itself; a full one makes the database read-only"
    )
    # The bounds are the API's: digitalocean/openapi 7c1300c4, database_storage_autoscale_params.yml.
    threshold: int = Field(
        default=80, ge=15, le=95, description="per cent of the disk in use that let it grow, 15 to 95"
    )
    increment: int = Field(default=10, ge=10, le=500, description="GiB that it grows by each time, 10 to 500")


class DatabaseConfig(_Section):
    """The PostgreSQL cluster."""

    edition: Literal["standard", "advanced"] = Field(
        default="standard",
        description="standard or advanced (larger plans, standby nodes, docs/cost.md); a change deletes the data",
    )
    size: Annotated[str, AfterValidator(_database_plan)] = Field(
        description="a plan such as db-s-1vcpu-2gb; sizing/editions.py lists them"
    )
    nodes: int = Field(default=1, ge=1, le=3, description="nodes of the cluster, standby nodes included: 1 to 3")
    accept_plan: bool = Field(
        default=False,
        description="true lets a new standard cluster have more than one node or 4 GiB, where the account may have it",
    )
    accept_no_failover: bool = Field(
        default=False,
        description="true accepts that the one node's failure is an outage until DigitalOcean has recovered it",
    )
    storage: DatabaseStorageConfig = Field(
        default_factory=DatabaseStorageConfig, description="autoscale, threshold, increment"
    )
    version: Annotated[str, _one_of(*DATABASE_VERSIONS)] = Field(
        default="17", description="major version of PostgreSQL"
    )
    direct_connections: int = Field(
        default=2, ge=0, le=100, description="backends kept out of the pool for migrations and operators, 0 to 100"
    )
    trusted_sources: Annotated[tuple[Network4, ...], Unique] = Field(
        default=(),
        max_length=TRUSTED_SOURCES,
        description=f"IPv4 addresses or CIDRs that may connect beside the Droplets, at most {TRUSTED_SOURCES}",
    )
    extensions: Annotated[
        tuple[Annotated[str, _pattern(r"[A-Za-z0-9_-]+", "the name of a PostgreSQL extension")], ...], Unique
    ] = Field(default=(), description="PostgreSQL extensions that the app needs, such as citext (docs/app.md)")
    maintenance: MaintenanceConfig = Field(default_factory=MaintenanceConfig, description="day and hour of updates")
    timeouts: TimeoutsConfig = Field(
        default_factory=TimeoutsConfig, description="statement, lock and idleInTransaction, in seconds"
    )

    @property
    def accepted(self) -> list[str]:
        """The settings by which the user has accepted something that is otherwise refused."""
        paths = {editions.ACCEPT_PLAN: self.accept_plan, editions.ACCEPT_NO_FAILOVER: self.accept_no_failover}
        return [path for path, is_accepted in paths.items() if is_accepted]


class PoolConfig(_Section):
    """The transaction-mode connection pool."""

    size: Annotated[Literal["auto"] | int, _auto_or_number(plans.CONNECTIONS_CAP)] = Field(
        default="auto", description="auto (all that the plan leaves) or a number of backend connections"
    )


class CorsConfig(_Section):
    """Which other origins may read static files."""

    origins: Annotated[tuple[Origin, ...], Unique] = Field(
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
        description="number of Droplets, 1 to 50; more than 1 needs the load balancer",
    )
    size: Annotated[str, AfterValidator(_droplet_size)] = Field(description="a Droplet size such as s-1vcpu-1gb")
    image: Annotated[str, _pattern(r"debian-13-x64|[1-9]\d*", "debian-13-x64 or the id of a snapshot of it")] = Field(
        default="debian-13-x64", description="debian-13-x64, or the number of a snapshot of it"
    )
    packages: Annotated[
        tuple[Annotated[str, _pattern(r"[a-z0-9][a-z0-9+.-]+", "the name of a Debian package")], ...], Unique
    ] = Field(default=(), description="Debian packages that the app needs")
    workers: Annotated[Literal["auto"] | int, _auto_or_number(64)] = Field(
        default="auto", description="auto (from the size) or Gunicorn workers of one Droplet"
    )
    threads: Annotated[Literal["auto"] | int, _auto_or_number(64)] = Field(
        default="auto", description=f"auto ({budget.DEFAULT_THREADS}) or threads of one worker"
    )
    load_balancer: bool = Field(default=False, description="not supported yet: leave it out")
    backups: bool = Field(
        default=False,
        description="true has DigitalOcean back up the Droplets every week (the database always is, every day)",
    )
    acme_email: Email | None = Field(default=None, description="where Let's Encrypt may write to")


class SlackConfig(_Section):
    """A channel of Slack."""

    channel: Annotated[str, _pattern(r"#?\S{1,80}", "a channel's name")] = Field(description="the channel's name")
    url: Annotated[SecretStr, AfterValidator(_webhook)] = Field(
        description="an incoming webhook, https://hooks.slack.com/services/…; set it with --secret"
    )


class AlertsConfig(_Section):
    """Who is told when the Droplets are short of CPU, memory or disk."""

    email: Annotated[tuple[Email, ...], Unique] = Field(
        default=(), description="addresses to write to; each must be verified in the DigitalOcean account"
    )
    slack: tuple[SlackConfig, ...] = Field(default=(), description="Slack channels, each with channel and url")


class AppConfig(_Section):
    """The Django project."""

    path: Annotated[str, StringConstraints(min_length=1)] = Field(default="app", description="folder of manage.py")
    wsgi: Annotated[str, _pattern(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", 'such as "mysite.wsgi:application"')] = Field(
        default="mysite.wsgi:application", description="module and callable that Gunicorn serves"
    )
    settings: Annotated[str, _pattern(r"[A-Za-z_][\w.]*", "a module's dotted name")] = Field(
        default="mysite.settings", description="DJANGO_SETTINGS_MODULE"
    )
    python: Annotated[str, _one_of(*PYTHONS)] | None = Field(
        default=None,
        description="a version such as 3.12, which uv then downloads; by default the Droplet's own, "
        f"{config_rules.DROPLET_PYTHON}",
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
    app: AppConfig = Field(default_factory=AppConfig, description="path, wsgi, settings, python, env, secrets, release")
    alerts: AlertsConfig = Field(default_factory=AlertsConfig, description="email, slack")
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
    def connection_budget(self) -> budget.ConnectionBudget:
        """Clients and backends of this stack."""
        available = budget.pool_size(self.database.size, self.database.direct_connections)
        workers = budget.gunicorn_workers(plans.droplet_plan(self.web.size))
        return budget.ConnectionBudget(
            max_connections=plans.max_connections(self.database.size),
            direct_connections=self.database.direct_connections,
            pool_size=available if self.pool.size == "auto" else self.pool.size,
            droplets=self.web.count,
            workers=workers if self.web.workers == "auto" else self.web.workers,
            threads=budget.DEFAULT_THREADS if self.web.threads == "auto" else self.web.threads,
            assumed=self.database.edition == editions.ADVANCED.name,
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
        for rule in config_rules.RULES:
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
    if details["type"] in {"model_type", "dict_type"}:
        rule = "must be a mapping, with its settings indented below it"
    if details["type"] == "too_long":
        rule = f"must have at most {details['ctx']['max_length']} items, has {details['ctx']['actual_length']}"
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
