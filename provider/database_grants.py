"""What the two database roles may do: DigitalOcean makes roles without rights, the runner gives them some by SQL."""

import re
from typing import Any

from provider.actions import (
    CheckResult,
    CreateResult,
    DiffResult,
    ResourceProvider,
    UpdateResult,
    checked,
    differing,
    is_unknown,
    text_problems,
)

SECRETS = ("admin_uri", "migrator_password", "app_password")
TEXTS = ("admin_uri", "database", "host", "migrator", "migrator_password", "app", "app_password")
SETTING = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?")


class DatabaseGrantsProvider(ResourceProvider):
    """Run the same idempotent SQL whenever something that it depends on changes; take nothing away at the end."""

    secrets = SECRETS

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse what is not a login, role or setting."""
        problems = text_problems(news, "database_grants", *TEXTS)
        if not problems and news["app"] == news["migrator"] and not is_unknown(news["app"]):
            problems.append(f"database_grants.app: must not be the migrator, got {news['app']!r} for both")
        ca = news.get("ca")
        if not is_unknown(ca) and not isinstance(ca, str):
            problems.append(f"database_grants.ca: must be a text, empty for the trust store, got {type(ca).__name__}")
        port = news.get("port")
        if not is_unknown(port) and not (isinstance(port, int | float) and 0 < port < 65536):  # noqa: PLR2004
            problems.append(f"database_grants.port: must be a port, got {port!r}")
        problems += [
            f"database_grants.{which}.{name}: must be a PostgreSQL setting's name with a text as value, got {value!r}"
            for which in ("app_settings", "migrator_settings")
            for name, value in sorted(news[which].items() if isinstance(news.get(which), dict) else ())
            if not SETTING.fullmatch(name) or not (isinstance(value, str) or is_unknown(value))
        ]
        return checked(news, problems)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Run again for another database, role (its password tells a new one from an old one) or setting.

        doadmin's own password and the CA change nothing in the database.
        """
        replaces = differing(olds, news, ["host", "database"])
        others = ["migrator", "migrator_password", "app", "app_password"]
        others += ["app_settings", "migrator_settings", "extensions"]
        return DiffResult(changes=bool(replaces or differing(olds, news, others)), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Grant."""
        return CreateResult(f"{props['host']}/{props['database']}", _grant(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Grant again."""
        return UpdateResult(_grant(news))


def _grant(props: dict[str, Any]) -> dict[str, Any]:
    """Grant, and return the outputs."""
    from provider import grants_sql

    grants_sql.grant(props)
    return props
