"""Every setting, changed once: from what it is after the changes before it, to what."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sandbox.world import certificates
from tests.api_client import PUBLIC_KEY, Api
from tests.commands import ROOT
from tests.pulumi_stack import Secret, Settings

Outcome = Literal[
    "nothing", "update in place", "release", "replacement without downtime", "outage", "data loss", "refused"
]


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a value may need: the account, what the stack said after its first `up`, and a place for files."""

    api: Api
    outputs: dict[str, object]
    folder: Path


Value = object | Callable[[Given], object]


@dataclass(frozen=True)
class Change:
    """One setting (or what can only be set together), its new value, and what must become of the stack."""

    settings: dict[str, Value]
    outcome: Outcome
    note: str = ""  # for the page: when the outcome is another one, or what to do
    # Why what the preview says can't be seen happening here.
    unseen: str = ""
    made: bool = True  # False: only previewed, since it would stop half way

    @property
    def lasts(self) -> bool:
        """Whether the stack has it afterwards."""
        return self.made and self.outcome != "refused"

    @property
    def name(self) -> str:
        """The settings' paths."""
        return ", ".join(self.settings)

    def values(self, given: Given) -> Settings:
        """The settings with their values."""
        return {path: value(given) if callable(value) else value for path, value in self.settings.items()}


def ssh_key(given: Given) -> object:
    """Somebody's key."""
    key = given.api.ok(given.api.post("/v2/account/keys", {"name": "person", "public_key": PUBLIC_KEY}))["ssh_key"]
    return [key["fingerprint"]]


def snapshot(given: Given) -> object:
    """An image that is named by its number."""
    images = given.api.ok(given.api.raw.get("/v2/images?per_page=200"))["images"]
    return next(image["id"] for image in images if image["slug"] == "debian-13-x64")


def spaces_keys(given: Given) -> object:
    """Keys that somebody made by hand."""
    buckets = given.outputs["buckets"]
    assert isinstance(buckets, dict)

    def key(**grants: str) -> dict[str, str]:
        body = {
            "name": f"by-hand-{'-'.join(grants)}",
            "grants": [{"bucket": buckets[role], "permission": permission} for role, permission in grants.items()],
        }
        made = given.api.ok(given.api.post("/v2/spaces/keys", body))["key"]
        return {"accessKey": made["access_key"], "secretKey": made["secret_key"]}

    return {
        "agent": key(releases="read", assets="readwrite", state="readwrite"),
        "app": key(media="readwrite"),
    }


def project(given: Given) -> object:
    """The app in another folder, with a second module of settings and of WSGI."""
    shutil.copytree(ROOT / "app", given.folder, ignore=shutil.ignore_patterns(".venv", "__pycache__", "*.sqlite3"))
    site = given.folder / "mysite"
    (site / "other_settings.py").write_text("from mysite.settings import *\n")
    shutil.copy(site / "wsgi.py", site / "other_wsgi.py")
    return str(given.folder)


def own_certificate(given: Given) -> Path:
    """Certificate and key of the user's own, as `<path>.crt` and `<path>.key`."""
    path = given.folder.with_name("own-certificate")
    if not path.with_suffix(".key").exists():
        certificates.issue(given.api.world, ["polls.example"], path)
    return path


def chain(given: Given) -> Secret:
    """The certificate and its authority's."""
    return Secret(own_certificate(given).with_suffix(".crt").read_text())


def key(given: Given) -> Secret:
    """Its key."""
    return Secret(own_certificate(given).with_suffix(".key").read_text())


SQL = "with SQL from this machine, which must be in `database.trustedSources` first"
CHANGES = (
    # What the network lets in.
    Change({"network.sshKeys": ssh_key}, "replacement without downtime"),
    Change({"network.sshFrom": ["192.0.2.7"]}, "update in place"),
    # The database.
    Change({"database.trustedSources": ["192.0.2.1"]}, "update in place"),
    Change({"database.maintenance.day": "friday"}, "update in place"),
    Change({"database.maintenance.hour": "04:00"}, "update in place"),
    Change({"database.timeouts.statement": 20}, "update in place", note=SQL),
    Change({"database.timeouts.lock": 5}, "update in place", note=SQL),
    Change({"database.timeouts.migrationLock": 5}, "update in place", note=SQL),
    Change({"database.timeouts.idleInTransaction": 30}, "update in place", note=SQL),
    Change({"database.extensions": ["citext"]}, "update in place", note=SQL),
    Change({"database.directConnections": 3}, "outage", note="nothing where `pool.size` is a number that still fits"),
    Change({"pool.size": 10}, "outage"),
    Change({"database.size": "db-s-1vcpu-2gb"}, "outage", note="and that of `pool.size`, where it is `auto`"),
    Change(
        {"database.nodes": 2},
        "update in place",
        note="*assumed*: DigitalOcean does not say; never fewer. In the edition standard for older clusters only",
    ),
    Change({"database.storage.threshold": 70}, "update in place"),
    Change({"database.storage.increment": 20}, "update in place"),
    Change({"database.storage.autoscale": False}, "update in place"),
    Change(
        {"database.version": "18"},
        "outage",
        note="of minutes, says DigitalOcean; there is no way back",
        unseen="no database is converted here",
    ),
    # The Spaces.
    Change({"storage.cors.origins": ["https://www.polls.example"]}, "update in place"),
    Change({"storage.cors.maxAge": 60}, "update in place"),
    Change({"storage.cdn.ttl": 600}, "update in place"),
    Change({"storage.keys": spaces_keys}, "replacement without downtime", note="keys that were made by hand"),
    # The Droplets.
    Change({"storage.keys": None}, "replacement without downtime", note="back to keys that the program makes"),
    Change({"web.packages": ["gettext"]}, "replacement without downtime"),
    Change({"web.threads": 2}, "replacement without downtime"),
    Change({"web.size": "s-2vcpu-4gb"}, "replacement without downtime", note="where `web.workers: auto` follows it"),
    Change({"web.workers": 3}, "nothing", note="the same number as before; with another one as `web.threads`"),
    Change({"web.size": "s-4vcpu-8gb"}, "outage", note="where the number of workers stays"),
    Change({"web.image": snapshot}, "replacement without downtime"),
    Change({"web.acmeEmail": "ops@example.com"}, "replacement without downtime"),
    Change({"web.backups": True}, "update in place"),
    # More than one Droplet.
    Change({"dnsPatience": 0}, "nothing"),
    Change({"web.loadBalancer": True}, "replacement without downtime", note="the site moves: docs/load-balancer.md"),
    Change({"web.count": 2}, "update in place", note="fewer: the others take over, and it leaves first"),
    Change({"web.maxUnavailable": 2}, "nothing", note="but at the next release"),
    Change({"web.certificate.chain": chain, "web.certificate.privateKey": key}, "update in place"),
    Change({"web.certificate": None}, "update in place", note="back to one that DigitalOcean obtains"),
    Change(
        {"network.sshFrom": [], "web.publicNetwork": False},
        "replacement without downtime",
        note="what the app calls sees the NAT gateway's address",
    ),
    Change({"web.publicNetwork": True}, "replacement without downtime"),
    Change(
        {"web.loadBalancer": False, "web.count": 1, "web.maxUnavailable": 1},
        "replacement without downtime",
        note="back to one Droplet",
    ),
    # Who is told.
    Change({"alerts.email": ["ops@example.com"]}, "update in place"),
    Change(
        {"alerts.slack": [{"channel": "#ops", "url": "https://hooks.slack.com/services/T0/B0/x"}]}, "update in place"
    ),
    # The app.
    Change({"app.path": project}, "release"),
    Change({"app.settings": "mysite.other_settings"}, "release"),
    Change({"app.wsgi": "mysite.other_wsgi:application"}, "release"),
    Change({"app.python": "3.13"}, "release"),
    Change({"app.exclude": ["polls/tests.py"]}, "release", note="nothing where it names what did not go before"),
    Change({"app.include": ["polls/tests.py"]}, "release", note="nothing where it names what goes already"),
    Change({"app.env": {"GREETING": "hello"}}, "release"),
    Change({"app.secrets.GREETING_KEY": Secret("correct-horse-battery")}, "release"),
    Change({"app.superuser": False}, "release", note="an account that is there stays, and keeps its password"),
    Change({"app.health.path": "/polls/"}, "release", note="the same code, judged by another page"),
    Change({"app.health.status": ["200"]}, "release", note="the same code, judged anew"),
    Change({"app.allow": ["debug"]}, "release", note="it takes back nothing that was accepted before"),
    Change({"app.release": lambda given: given.outputs["release"]}, "release", note="back to that one"),
    Change({"app.release": None}, "release", note="on to the code at `app.path`"),
    # What keeps the stack safe.
    Change({"production": True}, "refused", note="until all that it requires is there"),
    # What may be deleted; each back again, for the changes that follow.
    Change(
        {"storage.forceDestroy": False}, "update in place", note="Spaces with objects in them can't be deleted then"
    ),
    Change({"storage.forceDestroy": True}, "update in place"),
    Change({"protect": True}, "nothing", note="but a data loss is refused from then on"),
    Change({"protect": False}, "nothing"),
    # What can't be changed with the data in place.
    Change({"domain": "www.polls.example"}, "data loss", note="the zone's records; the database stays"),
    Change(
        {"network.cidr": "10.41.0.0/20"},
        "refused",
        note="where the cluster has a standby, or more than 4 GiB: the one in its place would be a new one",
    ),
    Change({"network.cidr": "10.41.0.0/20", "database.nodes": 1}, "data loss"),
    Change(
        {"region": "fra1", "network.cidr": "10.42.0.0/20"},
        "data loss",
        note="the new network can't have the range of the old one",
    ),
    Change({"database.acceptPlan": True}, "nothing", note="but a new cluster may be larger from then on"),
    Change({"database.acceptNoFailover": True}, "nothing", note="and each preview says so"),
    Change(
        {
            "database.edition": "advanced",
            "database.size": "gd-2vcpu-8gb",
            "database.extensions": ["plpgsql"],
            "database.acceptPlan": False,
        },
        "data loss",
    ),
    Change({"dns": "external"}, "data loss", note="the zone's records; the database stays"),
    Change(
        {"name": "polls-other", "network.cidr": "10.43.0.0/20"},
        "data loss",
        note="with `dns: managed` it is refused, since the old domain is in the way: make a second stack instead",
        made=False,
    ),
)
