"""Production Django on DigitalOcean: the whole stack, from the network to the release that the public URL serves."""

import gc
import signal

import pulumi

from components.alerts import Alerts, AlertsArgs, SlackChannel
from components.connection_pool import ConnectionPool, ConnectionPoolArgs
from components.database import Database, DatabaseArgs
from components.network import Network, NetworkArgs
from components.object_storage import ObjectStorage, ObjectStorageArgs, ScopedKey
from components.public_address import PublicAddress, PublicAddressArgs
from components.publication import Publication, PublicationArgs
from components.release import DatabaseEndpoint, Release, ReleaseArgs
from components.web_firewall import WebFirewall, WebFirewallArgs
from components.web_server import WebServer, WebServerArgs
from config.loading import load
from config.state_folder import require_room
from config.storage import SpacesKeyConfig
from sizing.editions import EDITIONS

# The SDKs make more than a hundred thousand objects that stay until the end. Without this, Python would look for
# garbage among them when it exits, which was a tenth of a preview's time.
gc.freeze()

# After Ctrl-C the engine ends this program by SIGINT. Python would wait for threads whose questions the engine answers
# no more, and the engine 5 s for Python.
signal.signal(signal.SIGINT, signal.SIG_DFL)

require_room()
config = load()
name = config.name
budget = config.connection_budget
keys = config.storage.keys
protected = pulumi.ResourceOptions(protect=True) if config.protect else None


def given(key: SpacesKeyConfig) -> ScopedKey:
    """Return a Spaces key of the settings, as secrets."""
    return ScopedKey(
        access_key=pulumi.Output.secret(key.access_key.get_secret_value()),
        secret_key=pulumi.Output.secret(key.secret_key.get_secret_value()),
    )


network = Network(name, NetworkArgs(region=config.region, cidr=config.network.cidr))

storage = ObjectStorage(
    name,
    ObjectStorageArgs(
        region=config.region,
        cors_origins=config.cors_origins,
        cors_max_age=config.storage.cors.max_age,
        cdn_ttl=config.storage.cdn.ttl,
        force_destroy=config.storage.force_destroy,
        protect_media=config.protect,
        agent_key=given(keys.agent) if keys else None,
        app_key=given(keys.app) if keys else None,
    ),
)

address = PublicAddress(
    name, PublicAddressArgs(region=config.region, domain=config.domain, dns=config.dns), opts=protected
)

database = Database(
    name,
    DatabaseArgs(
        region=config.region,
        edition=EDITIONS[config.database.edition],
        size=config.database.size,
        nodes=config.database.nodes,
        accept_plan=config.database.accept_plan,
        version=config.database.version,
        storage_autoscale=config.database.storage.autoscale,
        storage_threshold=config.database.storage.threshold,
        storage_increment=config.database.storage.increment,
        maintenance_day=config.database.maintenance.day,
        maintenance_hour=config.database.maintenance.hour,
        trusted_sources=config.database.trusted_sources,
        extensions=config.database.extensions,
        statement_timeout=config.database.timeouts.statement,
        lock_timeout=config.database.timeouts.lock,
        idle_in_transaction_timeout=config.database.timeouts.idle_in_transaction,
        vpc_id=network.vpc_id,
        tag=network.tag,
        web_tag=network.web_tag,
    ),
    opts=protected,
)

pool = ConnectionPool(
    name,
    ConnectionPoolArgs(database=database, size=budget.pool_size),
)

firewall = WebFirewall(name, WebFirewallArgs(web_tag=network.web_tag, ssh_from=config.network.ssh_from))

# The Droplets need no database to install themselves: they do it while the cluster is being created.
web = WebServer(
    name,
    WebServerArgs(
        region=config.region,
        domain=config.domain,
        count=config.web.count,
        size=config.web.size,
        image=config.web.image,
        backups=config.web.backups,
        packages=config.web.packages,
        workers=budget.workers,
        threads=budget.threads,
        acme_email=config.web.acme_email,
        vpc_cidr=config.network.cidr,
        ssh_keys=config.network.ssh_keys,
        vpc_id=network.vpc_id,
        tags=(network.tag, network.web_tag),
        releases_bucket=storage.releases_bucket,
        state_bucket=storage.state_bucket,
        assets_bucket=storage.assets_bucket,
        agent_key=storage.agent_key,
        firewall=firewall,
    ),
)

Alerts(
    name,
    AlertsArgs(
        web_tag=network.web_tag,
        emails=config.alerts.email,
        slacks=tuple(
            SlackChannel(channel=slack.channel, url=pulumi.Output.secret(slack.url.get_secret_value()))
            for slack in config.alerts.slack
        ),
    ),
)

release = Release(
    name,
    ReleaseArgs(
        region=config.region,
        domain=config.domain,
        path=config.app.path,
        wsgi=config.app.wsgi,
        settings=config.app.settings,
        python=config.app.python,
        env=config.app.env,
        secrets={key: pulumi.Output.secret(value.get_secret_value()) for key, value in config.app.secrets.items()},
        pool=DatabaseEndpoint(
            user=database.app_role,
            password=database.app_password,
            host=pool.private_host,
            port=pool.port,
            database=pool.pool_name,
        ),
        migrator=DatabaseEndpoint(
            user=database.migrator_role,
            password=database.migrator_password,
            host=database.private_host,
            port=database.port,
            database=database.database,
        ),
        database_ca=database.ca,
        cdn_endpoint=storage.cdn_endpoint,
        media_bucket=storage.media_bucket,
        app_key=storage.app_key,
        releases_bucket=storage.releases_bucket,
        state_bucket=storage.state_bucket,
        droplet_ids=web.droplet_ids,
        protect_secrets=config.protect,
        pinned=config.app.release,
    ),
)

publication = Publication(
    name,
    PublicationArgs(
        region=config.region,
        url=config.url,
        dns=config.dns,
        address=address,
        droplet_ids=web.droplet_ids,
        releases_bucket=storage.releases_bucket,
        release=release,
    ),
)

pulumi.export("url", config.url)
# The policy pack goes by these two: with true, more rules hold; what is accepted breaks none of them.
pulumi.export("production", config.production)
pulumi.export("accepted", config.database.accepted)
pulumi.export("reserved_ip", address.ip_address)
pulumi.export("cdn_endpoint", storage.cdn_endpoint)
pulumi.export("max_connections", budget.max_connections)
pulumi.export("pool_size", pool.size)
pulumi.export("connection_budget", budget.export())
pulumi.export("release", publication.release)
pulumi.export("pending", publication.pending)
pulumi.export("superuser_password", release.superuser_password)
pulumi.export("droplet_ids", web.droplet_ids)
pulumi.export("database_id", database.cluster.id)
pulumi.export(
    "buckets",
    {
        "assets": storage.assets_bucket,
        "media": storage.media_bucket,
        "releases": storage.releases_bucket,
        "state": storage.state_bucket,
    },
)
