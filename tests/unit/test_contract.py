"""The contract with the app: what it gets in its environment, and under which names."""

import json
from typing import Any

from contract import environment

POOL = environment.DatabaseAddress(
    user="app", password="p/w@d", host="private-db.example", port=25061, database="app-pool"
)


DOCUMENT = {"wsgi", "database", "health_path", "health_status", "allow", "env", "release_env", "secrets"}


def environment_of(database_ca: str, *, superuser: bool = True, **env: str) -> dict[str, Any]:
    """The environment of a site with a password that needs quoting."""
    migrator = environment.DatabaseAddress(
        user="migrator", password="m", host="private-db.example", port=25060, database="app"
    )
    return environment.environment_document(
        environment.EnvironmentSpec(
            domain="shop.example",
            region="fra1",
            wsgi="mysite.wsgi:application",
            settings="mysite.settings",
            python=None,
            health_path="/shop/",
            health_status=("200", "401"),
            allow=("debug",),
            env={"DB_URL": "${DATABASE_URL}", "DB": "${DATABASE_USER}:${DATABASE_PORT}", "PLAIN": "$HOME", **env},
            secrets={"API_KEY": "hunter2"},
            pool=POOL,
            migrator=migrator,
            database_ca=database_ca,
            secret_key="s",
            superuser=superuser,
            superuser_password="root",
            cdn_endpoint="assets.fra1.cdn.digitaloceanspaces.com",
            media_bucket="media",
            app_access_key="AK",
            app_secret_key="SK",
        )
    )


def test_the_environment_document_maps_names_and_keeps_the_migrator_out_of_gunicorn() -> None:
    """`app.env` gives the contract's values other names; the role that may change the schema is for releases alone."""
    document = environment_of("CA")
    env, release_env = document["env"], document["release_env"]
    assert document["database_ca"] == "CA"
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
    assert document["database"] == "app@private-db.example:25061/app-pool"
    assert (document["health_path"], document["health_status"], document["allow"]) == (
        "/shop/",
        ["200", "401"],
        ["debug"],
    )
    assert set(document) == DOCUMENT | {"database_ca"}
    assert document["secrets"] == ["API_KEY"]
    assert POOL.parts("ca.crt").keys() | (environment.REFERABLE & env.keys()) == environment.REFERABLE


def test_a_cluster_without_a_ca_of_its_own_is_verified_against_the_trust_store() -> None:
    """By the file's name: libpq's own word for the trust store is not understood by every client."""
    document = environment_of("")
    assert "database_ca" not in document
    store = "/etc/ssl/certs/ca-certificates.crt"
    assert document["env"]["PGSSLROOTCERT"] == store
    for variables in (document["env"], document["release_env"]):
        assert variables["DATABASE_URL"].endswith(f"?sslmode=verify-full&sslrootcert={store}")


def test_what_createsuperuser_reads_is_the_projects_to_say() -> None:
    """A user model may know no e-mail address of ours; the rest is given, and nothing of it without a superuser."""
    names = {"DJANGO_SUPERUSER_USERNAME", "DJANGO_SUPERUSER_EMAIL", "DJANGO_SUPERUSER_PASSWORD"}
    given = environment_of("", DJANGO_SUPERUSER_USERNAME="boss", DJANGO_SUPERUSER_PHONE="0")["release_env"]
    assert {name: given[name] for name in names} == {
        "DJANGO_SUPERUSER_USERNAME": "boss",
        "DJANGO_SUPERUSER_EMAIL": "admin@shop.example",
        "DJANGO_SUPERUSER_PASSWORD": "root",
    }
    assert not names & environment_of("", superuser=False)["release_env"].keys()
