"""Settings: what is accepted, what is refused, and that one run names everything that is wrong."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pulumi.runtime
import pytest
import yaml

import config
from components import environment
from config import ConfigError, StackConfig

ROOT = Path(config.__file__).parent


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder that looks like a Django project."""
    (tmp_path / "mysite").mkdir()
    for file in ("manage.py", "requirements.txt", "mysite/__init__.py", "mysite/settings.py", "mysite/wsgi.py"):
        (tmp_path / file).touch()
    return tmp_path


@pytest.fixture
def settings(project: Path) -> dict[str, Any]:
    """The least that a stack must say."""
    return {
        "name": "shop-dev",
        "region": "fra1",
        "domain": "shop.example",
        "database": {"size": "db-s-2vcpu-4gb"},
        "web": {"size": "s-1vcpu-1gb"},
        "app": {"path": str(project)},
    }


@pytest.fixture
def restored() -> Iterator[None]:
    """Leave no settings of this test to the next one."""
    yield
    pulumi.runtime.set_all_config({})


def problems(settings: dict[str, Any]) -> tuple[str, ...]:
    """Every problem of these settings."""
    with pytest.raises(ConfigError) as caught:
        StackConfig.parse(settings)
    return caught.value.problems


def changed(settings: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """Settings with one value changed, named by its path."""
    copy: dict[str, Any] = json.loads(json.dumps(settings))
    *parents, last = path.split(".")
    section = copy
    for parent in parents:
        section = section.setdefault(parent, {})
    section[last] = value
    return copy


def test_the_least_settings_have_safe_defaults(settings: dict[str, Any]) -> None:
    """Protected, closed, nothing destroyed by accident, sizes from the plans."""
    parsed = StackConfig.parse(settings)
    assert parsed.protect
    assert not parsed.storage.force_destroy
    assert parsed.network.ssh_from == ()
    assert parsed.database.trusted_sources == ()
    assert parsed.cors_origins == ("https://shop.example",)
    assert parsed.storage.cors.max_age == 600
    assert parsed.url == "https://shop.example"
    budget = parsed.connection_budget
    assert (budget.max_connections, budget.reserved, budget.pool_size) == (100, 5, 95)
    assert (budget.workers, budget.threads, budget.clients) == (2, 4, 16)


@pytest.mark.parametrize("stack", ["local", "dev"])
def test_the_stacks_of_this_repository_are_valid(stack: str) -> None:
    """What is tracked can be brought up."""
    document = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())
    StackConfig.parse({key.removeprefix("django-do:"): value for key, value in document["config"].items()})


def test_local_differs_in_sizes_names_and_named_switches_only() -> None:
    """No endpoint, no credentials, nothing that only a sandbox would understand."""
    local, dev = (yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"] for stack in ("local", "dev"))

    def flat(value: object, path: str = "") -> dict[str, object]:
        if not isinstance(value, dict):
            return {path: value}
        return {key: leaf for name, part in value.items() for key, leaf in flat(part, f"{path}.{name}").items()}

    one, other = flat(local), flat(dev)
    differing = {path for path in one.keys() | other.keys() if one.get(path) != other.get(path)}
    assert differing <= {
        ".django-do:name",
        ".django-do:domain",
        ".django-do:network.cidr",
        ".django-do:database.size",
        ".django-do:web.size",
        ".django-do:protect",
        ".django-do:storage.forceDestroy",
        ".django-do:dns",
    }


@pytest.mark.usefixtures("restored")
def test_load_reads_sections_and_secrets_from_pulumi(settings: dict[str, Any]) -> None:
    """Structured values come as JSON text, plain ones as text, secrets decrypted."""
    settings["app"]["secrets"] = {"API_KEY": "hunter2"}
    settings["protect"] = "false"
    pulumi.runtime.set_all_config(
        {f"django-do:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
        | {"digitalocean:token": "not ours to read"}
    )
    loaded = StackConfig.load()
    assert loaded.protect is False
    assert loaded.database.size == "db-s-2vcpu-4gb"
    assert loaded.app.secrets["API_KEY"].get_secret_value() == "hunter2"
    assert "hunter2" not in repr(loaded)


@pytest.mark.usefixtures("restored")
def test_load_names_a_misspelt_section(settings: dict[str, Any]) -> None:
    """A section that nobody asks for would otherwise be ignored in silence."""
    settings["databse"] = settings.pop("database")
    pulumi.runtime.set_all_config(
        {f"django-do:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
    )
    with pytest.raises(ConfigError) as caught:
        StackConfig.load()
    assert any("databse: unknown setting; did you mean database?" in problem for problem in caught.value.problems)
    assert any("database: required, but not set" in problem for problem in caught.value.problems)


@pytest.mark.usefixtures("restored")
def test_load_explains_plain_text_where_a_section_belongs(settings: dict[str, Any]) -> None:
    """`pulumi config set pool 20` instead of `--path pool.size`."""
    settings["pool"] = "big"
    pulumi.runtime.set_all_config(
        {f"django-do:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
    )
    with pytest.raises(ConfigError) as caught:
        StackConfig.load()
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["pool"]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("name", "Shop_Dev", "name: must be 3 to 30 lower-case letters, digits and dashes, got"),
        (
            "region",
            "nyc9",
            'region: must be one of ams3, atl1, blr1, fra1, lon1, nyc3, sfo2, sfo3, sgp1, syd1, tor1, got "nyc9"',
        ),
        ("domain", "https://shop.example", "domain: must be a host name in lower case, got"),
        ("domain", "localhost", "domain: must be a host name in lower case, got"),
        ("dns", "route53", "dns: should be 'managed' or 'external', got \"route53\""),
        ("network.cidr", "8.8.0.0/20", "network.cidr: must be a private range (RFC 1918) between /16 and /28, got"),
        ("network.cidr", "10.0.0.0/8", "network.cidr: must be a private range (RFC 1918) between /16 and /28, got"),
        ("network.cidr", "10.0.0.1/20", "network.cidr: must be an IPv4 CIDR without host bits, got"),
        ("network.sshFrom", ["203.0.113.7"], "network.sshFrom: opens SSH, but network.sshKeys is empty"),
        ("network.sshFrom", ["0.0.0.0/0"], "network.sshFrom.0: must not be the whole internet, got"),
        (
            "database.size",
            "db-s-2vcpu-5gb",
            'database.size: must be a PostgreSQL plan, got "db-s-2vcpu-5gb"; a plan such as',
        ),
        ("database.nodes", 4, "database.nodes: should be less than or equal to 3, got 4"),
        ("database.version", "14", 'database.version: must be one of 15, 16, 17, 18, got "14"'),
        ("database.trustedSources", ["0.0.0.0/0"], "database.trustedSources.0: must not be the whole internet, got"),
        ("database.trustedSources", ["::1"], "database.trustedSources.0: must be an IPv4 address or a CIDR"),
        ("database.trustedSources", [f"203.0.113.{i}" for i in range(100)], "database.trustedSources: "),
        ("database.maintenance.day", "someday", "database.maintenance.day: must be one of monday"),
        ("database.maintenance.hour", "24:00", "database.maintenance.hour: must be a time such as"),
        ("database.timeouts.statement", 0, "database.timeouts.statement: should be greater than or equal to 1, got 0"),
        ("database.directConnections", -1, "database.directConnections: should be greater than or equal to 0, got -1"),
        ("database.directConnections", 97, "pool.size: pool and reserve do not fit the plan, got pool 0 + direct 97"),
        ("pool.size", 0, "pool.size: must be auto or a whole number from 1 to 1000, got 0"),
        ("pool.size", True, "pool.size: must be auto or a whole number from 1 to 1000, got true"),
        ("pool.size", 96, "pool.size: pool and reserve do not fit the plan, got pool 96 + direct 2"),
        ("storage.cors.origins", ["*"], "storage.cors.origins.0: must be an exact https origin"),
        ("storage.cors.origins", ["http://a.example"], "storage.cors.origins.0: must be an exact https origin"),
        ("storage.cors.origins", ["https://a.example/"], "storage.cors.origins.0: must be an exact https origin"),
        ("storage.cdn.ttl", 61, "storage.cdn.ttl: must be one of 60, 600, 3600, 86400, 604800, got 61"),
        ("storage.keys.agent.accessKey", "AK", "storage.keys.agent.secretKey: required, but not set"),
        ("web.size", "s-1vcpu-9gb", 'web.size: must be a Droplet size, got "s-1vcpu-9gb"'),
        ("web.count", 2, "web.count: more than one Droplet needs the load balancer, which is not supported yet, got 2"),
        ("web.loadBalancer", True, "web.loadBalancer: not supported yet, got true"),
        ("web.image", "ubuntu-24-04-x64", "web.image: must be debian-13-x64 or the id of a snapshot of it, got"),
        ("web.packages", ["libvips; rm"], "web.packages.0: must be the name of a Debian package, got"),
        ("web.workers", 65, "web.workers: must be auto or a whole number from 1 to 64, got 65"),
        ("web.acmeEmail", "me", "web.acmeEmail: must be an e-mail address, got"),
        ("web.acmeEmail", 'a"b@shop.example', "web.acmeEmail: must be an e-mail address, got"),
        ("app.path", "no-such-folder", "app.path: must be the folder of a Django project, got"),
        ("app.wsgi", "mysite.wsgi", "app.wsgi: must be such as"),
        ("app.wsgi", "mysite.asgi:application", 'app.wsgi: must name a module below app.path, got "mysite.asgi"'),
        ("app.settings", "mysite.prod", 'app.settings: must name a module below app.path, got "mysite.prod"'),
        ("app.env", {"A-B": "x"}, "app.env.A-B: must be the name of an environment variable"),
        ("app.env", {"DB": "${DATABASE_ULR}"}, "app.env.DB: refers to ${DATABASE_ULR}, which is not a variable"),
        ("app.release", "latest", "app.release: must be the id of a release"),
        ("protect", "maybe", 'protect: should be a valid boolean, unable to interpret input, got "maybe"'),
        ("alerts", {"email": ["a@b.example"]}, "alerts: unknown setting; known here: "),
        ("web.backups", True, "web.backups: unknown setting; known here: "),
    ],
)
def test_one_wrong_setting_is_one_problem(settings: dict[str, Any], path: str, value: object, expected: str) -> None:
    """Each rule says where, what and how to mend it, and says it once."""
    found = [
        problem for problem in problems(changed(settings, path, value)) if not problem.startswith("storage.keys.app")
    ]
    assert len(found) == 1, found
    assert found[0].startswith(expected)
    assert ";" in found[0], "the fix is missing"


def test_all_problems_are_reported_at_once(settings: dict[str, Any]) -> None:
    """Rules between settings are checked too where their own settings are right."""
    settings |= {"region": "nyc9", "dns": "none", "network": {"sshFrom": ["203.0.113.7"]}}
    settings["database"] = {"size": "db-s-1vcpu-1gb", "nodes": 2, "timeouts": {"lock": 0}}
    settings["pool"] = {"size": 23}
    settings["web"] |= {"count": 3, "thread": 4}
    paths = {problem.partition(":")[0] for problem in problems(settings)}
    assert paths == {
        "region",
        "dns",
        "network.sshFrom",
        "database.nodes",
        "database.timeouts.lock",
        "pool.size",
        "web.count",
        "web.thread",
    }


def test_missing_settings_are_named() -> None:
    """An empty stack says what it needs."""
    paths = [problem for problem in problems({}) if "required, but not set" in problem]
    assert [path.partition(":")[0] for path in paths] == ["name", "region", "domain", "database", "web"]


def test_too_many_clients_are_refused_with_the_sum(settings: dict[str, Any]) -> None:
    """PgBouncer accepts 1,000 clients, however few backends they share."""
    settings["web"] |= {"workers": 64, "threads": 8}
    (problem,) = problems(settings)
    assert "64 workers x 8 threads x (1 + 1 surge) Droplets = 1024 of 1000 clients" in problem


@pytest.mark.parametrize("where", ["secrets", "env"])
def test_a_rejected_secret_is_not_shown(settings: dict[str, Any], where: str) -> None:
    """An error message is no place for one, nor is `app.env` when a secret got there by mistake."""
    settings["app"][where] = {"TOKEN": ["hunter2"]}
    (problem,) = problems(settings)
    assert problem.startswith(f"app.{where}.TOKEN: ")
    assert "hunter2" not in problem


def test_a_variable_is_either_plain_or_secret(settings: dict[str, Any]) -> None:
    """Which of two values wins is not left to chance."""
    settings["app"] |= {"env": {"TOKEN": "a"}, "secrets": {"TOKEN": "b"}}
    assert problems(settings) == ("app.env.TOKEN: is also in app.secrets; keep one of them",)


def test_numbers_are_text_where_text_belongs(settings: dict[str, Any]) -> None:
    """`version: 17` and `WORKERS: 3` are what people write in YAML."""
    settings["database"]["version"] = 17
    settings["app"]["env"] = {"LIMIT": 3}
    parsed = StackConfig.parse(settings)
    assert parsed.database.version == "17"
    assert parsed.app.env == {"LIMIT": "3"}


def test_production_names_what_is_missing(settings: dict[str, Any]) -> None:
    """It changes nothing by itself: it requires."""
    (problem,) = problems(settings | {"production": True, "protect": False})
    assert problem.startswith("production: requires what is missing here, got true; missing: protect: true; ")
    assert "database.nodes: 2 or more" in problem


def test_an_app_needs_locked_dependencies(settings: dict[str, Any], project: Path) -> None:
    """The release agent builds from one of two files."""
    (project / "requirements.txt").unlink()
    (problem,) = problems(settings)
    assert problem.startswith("app.path: must hold uv.lock or requirements.txt, got")


def test_the_environment_document_maps_names_and_keeps_the_migrator_out_of_gunicorn() -> None:
    """`app.env` gives the contract's values other names; the role that may change the schema is for releases alone."""
    pool = environment.DatabaseAddress(
        user="app", password="p/w@d", host="private-db.example", port=25061, database="app-pool"
    )
    migrator = environment.DatabaseAddress(
        user="migrator", password="m", host="private-db.example", port=25060, database="app"
    )
    document = environment.environment_document(
        environment.EnvironmentSpec(
            domain="shop.example",
            region="fra1",
            wsgi="mysite.wsgi:application",
            settings="mysite.settings",
            env={"DB_URL": "${DATABASE_URL}", "DB": "${DATABASE_USER}:${DATABASE_PORT}", "PLAIN": "$HOME"},
            secrets={"API_KEY": "hunter2"},
            pool=pool,
            migrator=migrator,
            database_ca="CA",
            secret_key="s",
            superuser_password="root",
            cdn_endpoint="assets.fra1.cdn.digitaloceanspaces.com",
            media_bucket="media",
            app_access_key="AK",
            app_secret_key="SK",
        )
    )
    env, release_env = document["env"], document["release_env"]
    assert env["DATABASE_URL"] == (
        "postgres://app:p%2Fw%40d@private-db.example:25061/app-pool"
        "?sslmode=verify-full&sslrootcert=/etc/release-agent/database-ca.crt"
    )
    assert env["DB_URL"] == env["DATABASE_URL"]
    assert (env["DB"], release_env["DB"]) == ("app:25061", "migrator:25060")
    assert release_env["DB_URL"] == release_env["DATABASE_URL"]
    assert env["PLAIN"] == "$HOME"
    assert "PLAIN" not in release_env
    assert env["API_KEY"] == "hunter2"
    assert release_env["DATABASE_URL"].startswith("postgres://migrator:m@private-db.example:25060/app?")
    assert "migrator" not in json.dumps(env)
    assert set(document) == {"wsgi", "env", "release_env", "database_ca"}
    assert pool.parts().keys() | (environment.REFERABLE & env.keys()) == environment.REFERABLE
