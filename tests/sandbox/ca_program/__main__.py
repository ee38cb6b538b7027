"""A database cluster, its authority, and a resource that can't be made without knowing that."""

import hashlib
import sys

import pulumi
import pulumi_digitalocean as do

config = pulumi.Config()
sys.path.insert(0, config.require("root"))  # this file is a copy, elsewhere

from components import database_ca  # noqa: E402 - known only now

engine = config.get("engine") or "pg"
network = do.Vpc("net", region="nyc3", ip_range="10.43.0.0/20")
cluster = do.DatabaseCluster(
    "cluster",
    engine=engine,
    version="17",
    size="gd-2vcpu-8gb" if engine == "advanced_pg" else "db-s-1vcpu-2gb",
    region="nyc3",
    node_count=1,
    private_network_uuid=network.id,
)
certificate = database_ca.certificate(cluster, engine=engine, parent=cluster)
do.Tag("user", name=certificate.apply(lambda pem: "ca-" + hashlib.sha256(pem.encode()).hexdigest()[:8]))
pulumi.export("certificate", certificate)
