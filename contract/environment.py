"""The environment of the app: pure functions from addresses, credentials and settings to one document."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from sizing.regions import spaces_endpoint

# Where the release agent puts the cluster's CA on the Droplet, readable by every user.
DATABASE_CA_PATH = "/etc/release-agent/database-ca.crt"
# The Droplet's trust store, for clusters without a CA of their own. Not libpq's `sslrootcert=system`: the OpenSSL in
# psycopg's wheels looks for it where Debian has none, and libpq before 16 takes the word for a file's name.
SYSTEM_CA_PATH = "/etc/ssl/certs/ca-certificates.crt"
SUPERUSER = "admin"

# Variables of the contract that `app.env` may refer to as ${NAME}, to give them the name that an app expects.
REFERABLE = frozenset(
    {
        "ALLOWED_HOSTS",
        "AWS_ACCESS_KEY_ID",
        "AWS_S3_CUSTOM_DOMAIN",
        "AWS_S3_ENDPOINT_URL",
        "AWS_S3_REGION_NAME",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_STORAGE_BUCKET_NAME",
        "CSRF_TRUSTED_ORIGINS",
        "DATABASE_HOST",
        "DATABASE_NAME",
        "DATABASE_PASSWORD",
        "DATABASE_PORT",
        "DATABASE_URL",
        "DATABASE_USER",
        "SECRET_KEY",
        "STATIC_URL",
    }
)

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseAddress:
    """A PostgreSQL endpoint and who connects to it."""

    user: str
    password: str
    host: str
    port: int
    database: str

    def url(self, ca_path: str) -> str:
        """Return a libpq URL that verifies the server against the authorities in a file of the Droplet."""
        options = urlencode({"sslmode": "verify-full", "sslrootcert": ca_path}, safe="/")
        user, password, database = (quote(part, safe="") for part in (self.user, self.password, self.database))
        return f"postgres://{user}:{password}@{self.host}:{self.port}/{database}?{options}"

    def __str__(self) -> str:
        """Return it without the password, as the app's connection is compared with it."""
        return f"{self.user}@{self.host}:{self.port}/{self.database}"

    def parts(self, ca_path: str) -> dict[str, str]:
        """Return the URL and its parts, for `app.env` to refer to."""
        return {
            "DATABASE_URL": self.url(ca_path),
            "DATABASE_HOST": self.host,
            "DATABASE_NAME": self.database,
            "DATABASE_PASSWORD": self.password,
            "DATABASE_PORT": str(self.port),
            "DATABASE_USER": self.user,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentSpec:
    """Everything that the environment document is made of, all values known."""

    domain: str
    region: str
    wsgi: str
    settings: str
    python: str | None  # None: the Droplet's own
    health_path: str
    health_status: Sequence[str]
    allow: Sequence[str]
    env: Mapping[str, str]
    secrets: Mapping[str, str]
    pool: DatabaseAddress
    migrator: DatabaseAddress
    database_ca: str  # PEM; empty: the Droplet's trust store
    secret_key: str
    superuser: bool  # whether a release makes one
    superuser_password: str
    cdn_endpoint: str
    media_bucket: str
    app_access_key: str
    app_secret_key: str


def references(value: str) -> list[str]:
    """Names that a value of `app.env` refers to."""
    return _REFERENCE.findall(value)


def environment_document(spec: EnvironmentSpec) -> dict[str, Any]:
    """Return the document of docs/releases.md.

    `env` is what Gunicorn and the release step get; `release_env` goes over it for the release step alone, so that the
    role that may change the schema never reaches a process that serves requests.
    """
    ca_path = DATABASE_CA_PATH if spec.database_ca else SYSTEM_CA_PATH
    contract = {
        "DJANGO_SETTINGS_MODULE": spec.settings,
        "SECRET_KEY": spec.secret_key,
        "ALLOWED_HOSTS": spec.domain,
        "CSRF_TRUSTED_ORIGINS": f"https://{spec.domain}",
        "DATABASE_URL": spec.pool.url(ca_path),
        # For apps that take the database's address apart: libpq verifies the server all the same.
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": ca_path,
        "STATIC_URL": f"https://{spec.cdn_endpoint}/static/",
        "AWS_S3_CUSTOM_DOMAIN": spec.cdn_endpoint,
        "AWS_STORAGE_BUCKET_NAME": spec.media_bucket,
        "AWS_S3_ENDPOINT_URL": spaces_endpoint(spec.region),
        "AWS_S3_REGION_NAME": spec.region,
        "AWS_ACCESS_KEY_ID": spec.app_access_key,
        "AWS_SECRET_ACCESS_KEY": spec.app_secret_key,
        # Spaces does not know the checksums that newer boto3 sends unasked (boto/boto3#4398).
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }
    renamed = _renamed(spec.env, contract | spec.pool.parts(ca_path))
    for_the_release_step = _renamed(spec.env, contract | spec.migrator.parts(ca_path))
    return {
        "wsgi": spec.wsgi,
        "database": str(spec.pool),
        "health_path": spec.health_path,
        "health_status": [*spec.health_status],
        "allow": sorted(spec.allow),
        "env": {**contract, **renamed, **spec.secrets},
        "release_env": {
            "DATABASE_URL": spec.migrator.url(ca_path),
            # What refers to the database has the migrator's here.
            **{name: value for name, value in for_the_release_step.items() if value != renamed[name]},
            **_superuser(spec),
        },
        "secrets": sorted(spec.secrets),
        # Left out when there is nothing to say, so that naming no version never makes a new release.
        **({"database_ca": spec.database_ca} if spec.database_ca else {}),
        **({"python": spec.python} if spec.python else {}),
    }


def _superuser(spec: EnvironmentSpec) -> dict[str, str]:
    """Return what createsuperuser reads; the project's own values count, and without a password there is no account."""
    if not spec.superuser:
        return {}
    ours = {
        "DJANGO_SUPERUSER_USERNAME": SUPERUSER,
        "DJANGO_SUPERUSER_EMAIL": f"{SUPERUSER}@{spec.domain}",
        "DJANGO_SUPERUSER_PASSWORD": spec.superuser_password,
    }
    return ours | {name: value for name, value in {**spec.env, **spec.secrets}.items() if name in ours}


def _renamed(env: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """Fill in the references of `app.env`."""
    return {name: _REFERENCE.sub(lambda match: known[match[1]], value) for name, value in env.items()}
