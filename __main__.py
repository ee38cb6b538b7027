"""Production Django on DigitalOcean: the whole stack, from the network to the release that the public URL serves."""

import pulumi

from components.alerts import Alerts, AlertsArgs
from components.connection_pool import ConnectionPool, ConnectionPoolArgs
from components.database import Database, DatabaseArgs
from components.early_outputs import keep
from components.existing import Existing
from components.network import Network, NetworkArgs
from components.object_storage import ObjectStorage, ObjectStorageArgs
from components.public_name import PublicName, PublicNameArgs
from components.publication import Publication, PublicationArgs
from components.release import Release, ReleaseArgs
from components.way_in import way_in
from components.web_firewall import WebFirewall, WebFirewallArgs
from components.web_server import WebServer, WebServerArgs
from config.program import begin

config = begin()
name, region, domain, budget = config.name, config.region, config.domain, config.connection_budget
protected = pulumi.ResourceOptions(protect=True) if config.protect else None
existing = Existing(config)
waiting = pulumi.ResourceOptions(depends_on=existing.looked)

network = Network(name, NetworkArgs(region=region, cidr=config.network.cidr, edge=config.edge, existing=existing))
storage = ObjectStorage(
    name,
    ObjectStorageArgs(
        region=region, settings=config.storage, cors_origins=config.cors_origins, protect_media=config.protect
    ),
    opts=waiting,
)
public_name = PublicName(name, PublicNameArgs(domain=domain, dns=config.dns, existing=existing), opts=protected)
address = way_in(config, network, storage, public_name, existing)
database_args = DatabaseArgs(region=region, settings=config.database, network=network, existing=existing)
database = Database(name, database_args, opts=protected)
pool = ConnectionPool(name, ConnectionPoolArgs(database=database, size=budget.pool_size))
firewall = WebFirewall(name, WebFirewallArgs(edge=config.edge, edge_tag=network.edge_tag, access=config.network))
# The Droplets need no database to install themselves: they do it while the cluster is being created.
web = WebServer(
    name,
    WebServerArgs(
        region=region, domain=domain, edge=config.edge, settings=config.web, access=config.network, budget=budget,
        network=network, storage=storage, existing=existing, firewall=firewall,
    ),
    opts=waiting,
)  # fmt: skip
Alerts(name, AlertsArgs(web_tag=network.web_tag, settings=config.alerts))
release = Release(
    name,
    ReleaseArgs(
        region=region, domain=domain, app=config.app, database=database, pool=pool, storage=storage,
        droplet_ids=web.droplet_ids, max_unavailable=config.web.max_unavailable, protect_secrets=config.protect,
    ),
    opts=waiting,
)  # fmt: skip
early = {
    # The policy pack goes by these two: with true, more rules hold; what is accepted breaks none of them.
    "production": config.production, "accepted": config.database.accepted,
    "url": config.url, "ip_address": address.ip_address, **web.egress,
    "cdn_endpoint": storage.cdn_endpoint, "buckets": storage.buckets,
    "max_connections": budget.max_connections, "pool_size": pool.size, "connection_budget": budget.export(),
    "droplet_ids": web.droplet_ids, "database_id": database.cluster.id,
    **({"superuser_password": release.superuser_password} if config.app.superuser else {}),  # the state keeps it anyway
}  # fmt: skip
publication = Publication(
    name,
    PublicationArgs(
        region=region, url=config.url, dns=config.dns, dns_patience=config.dns_patience, edge=config.edge,
        address=address, public_name=public_name, existing=existing, release=release,
        droplet_ids=web.droplet_ids, releases_bucket=storage.releases_bucket,
    ),
    opts=pulumi.ResourceOptions(depends_on=keep(early)),
)  # fmt: skip

# By `edge` the next update knows by what visitors come; they do only then.
late = {"edge": config.edge, "release": publication.release, "pending": publication.pending}
for output, value in {**early, **late}.items():
    pulumi.export(output, value)
