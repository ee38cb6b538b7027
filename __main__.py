"""Production Django on DigitalOcean: the whole stack, from the network to the release that the public URL serves."""

import pulumi

from components.alerts import Alerts, AlertsArgs
from components.connection_pool import ConnectionPool, ConnectionPoolArgs
from components.database import Database, DatabaseArgs
from components.network import Network, NetworkArgs
from components.object_storage import ObjectStorage, ObjectStorageArgs
from components.public_address import PublicAddress, PublicAddressArgs
from components.publication import Publication, PublicationArgs
from components.release import Release, ReleaseArgs
from components.web_firewall import WebFirewall, WebFirewallArgs
from components.web_server import WebServer, WebServerArgs
from config.program import begin

config = begin()
name, region, domain, budget = config.name, config.region, config.domain, config.connection_budget
protected = pulumi.ResourceOptions(protect=True) if config.protect else None

network = Network(name, NetworkArgs(region=region, cidr=config.network.cidr))
storage = ObjectStorage(
    name,
    ObjectStorageArgs(
        region=region, settings=config.storage, cors_origins=config.cors_origins, protect_media=config.protect
    ),
)
address = PublicAddress(name, PublicAddressArgs(region=region, domain=domain, dns=config.dns), opts=protected)
database = Database(name, DatabaseArgs(region=region, settings=config.database, network=network), opts=protected)
pool = ConnectionPool(name, ConnectionPoolArgs(database=database, size=budget.pool_size))
firewall = WebFirewall(name, WebFirewallArgs(web_tag=network.web_tag, ssh_from=config.network.ssh_from))
# The Droplets need no database to install themselves: they do it while the cluster is being created.
web = WebServer(
    name,
    WebServerArgs(
        region=region, domain=domain, settings=config.web, access=config.network, budget=budget,
        network=network, storage=storage, firewall=firewall,
    ),
)  # fmt: skip
Alerts(name, AlertsArgs(web_tag=network.web_tag, settings=config.alerts))
release = Release(
    name,
    ReleaseArgs(
        region=region, domain=domain, app=config.app, database=database, pool=pool, storage=storage,
        droplet_ids=web.droplet_ids, protect_secrets=config.protect,
    ),
)  # fmt: skip
publication = Publication(
    name,
    PublicationArgs(
        region=region, url=config.url, dns=config.dns, address=address, release=release,
        droplet_ids=web.droplet_ids, releases_bucket=storage.releases_bucket,
    ),
)  # fmt: skip

for output, value in {
    "url": config.url,
    # The policy pack goes by these two: with true, more rules hold; what is accepted breaks none of them.
    "production": config.production,
    "accepted": config.database.accepted,
    "reserved_ip": address.ip_address,
    "cdn_endpoint": storage.cdn_endpoint,
    "max_connections": budget.max_connections,
    "pool_size": pool.size,
    "connection_budget": budget.export(),
    "release": publication.release,
    "pending": publication.pending,
    # Kept in the state all the same: a superuser that is there still has it.
    **({"superuser_password": release.superuser_password} if config.app.superuser else {}),
    "droplet_ids": web.droplet_ids,
    "database_id": database.cluster.id,
    "buckets": storage.buckets,
}.items():
    pulumi.export(output, value)
