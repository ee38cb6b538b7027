"""One resource of every kind that the sandbox's provider has, for the tests of the provider with the real engine."""

import pulumi
import pulumi_digitalocean as do

config = pulumi.Config()
everywhere = ["0.0.0.0/0", "::/0"]

network = do.Vpc("net", region="nyc3", ip_range="10.42.0.0/20", description=config.get("description") or "first")
tag = do.Tag("web")
cluster = do.DatabaseCluster(
    "cluster",
    name="provider-test",
    engine="pg",
    version="17",
    size=config.get("clusterSize") or "db-s-1vcpu-2gb",
    region="nyc3",
    node_count=1,
    # An object such as {"enabled": true, "thresholdPercent": 80, "incrementGib": 20}.
    storage_autoscale=config.get_object("autoscale"),
    private_network_uuid=network.id,
    tags=[tag.name],
    maintenance_windows=[do.DatabaseClusterMaintenanceWindowArgs(day="monday", hour="03:00")],
)
user = do.DatabaseUser("user", name="app", cluster_id=cluster.id)
database = do.DatabaseDb("database", name="polls", cluster_id=cluster.id)
pool = do.DatabaseConnectionPool(
    "pool",
    name="app",
    cluster_id=cluster.id,
    db_name=database.name,
    mode="transaction",
    size=config.get_int("poolSize") or 20,
    user=user.name,
)
do.DatabaseFirewall(
    "trusted",
    cluster_id=cluster.id,
    rules=[
        do.DatabaseFirewallRuleArgs(type="tag", value=tag.name),
        do.DatabaseFirewallRuleArgs(type="ip_addr", value="192.0.2.1"),
    ],
)
key = do.SshKey("key", public_key=config.require("publicKey"))
bucket = do.SpacesBucket("assets", region="nyc3", force_destroy=True)
do.SpacesBucketCorsConfiguration(
    "cors",
    bucket=bucket.name,
    region="nyc3",
    cors_rules=[
        do.SpacesBucketCorsConfigurationCorsRuleArgs(
            allowed_methods=["GET", "HEAD"], allowed_origins=["https://polls.example"], max_age_seconds=600
        )
    ],
)
access = do.SpacesKey("access", grants=[do.SpacesKeyGrantArgs(bucket=bucket.name, permission="read")])
do.Cdn("cdn", origin=bucket.bucket_domain_name, ttl=3600)
do.Firewall(
    "edge",
    tags=[tag.name],
    inbound_rules=[
        do.FirewallInboundRuleArgs(protocol="tcp", port_range="443", source_addresses=everywhere),
        do.FirewallInboundRuleArgs(protocol="tcp", port_range="80", source_addresses=everywhere),
        do.FirewallInboundRuleArgs(protocol="icmp", source_addresses=everywhere),
    ],
    outbound_rules=[
        do.FirewallOutboundRuleArgs(protocol="tcp", port_range="all", destination_addresses=everywhere),
        do.FirewallOutboundRuleArgs(protocol="udp", port_range="all", destination_addresses=everywhere),
    ],
)
droplet = do.Droplet(
    "web",
    image="debian-13-x64",
    size="s-1vcpu-1gb",
    region="nyc3",
    ssh_keys=[key.id],
    tags=[tag.name],
    monitoring=True,
    vpc_uuid=network.id,
    user_data=pulumi.Output.concat("#cloud-config\n# ", config.get("userData") or "one", " ", access.secret_key, "\n"),
)
address = do.ReservedIp("address", region="nyc3")
do.ReservedIpAssignment("assignment", ip_address=address.ip_address, droplet_id=droplet.id.apply(int))
domain = do.Domain("domain", name="provider.example", opts=pulumi.ResourceOptions(delete_before_replace=True))
do.DnsRecord("apex", domain=domain.id, type="A", name="@", value=address.ip_address, ttl=60)
do.DnsRecord("www", domain=domain.id, type="CNAME", name="www", value="provider.example.")
certificate = do.Certificate("certificate", type="lets_encrypt", domains=[domain.name])
do.LoadBalancer(
    "balancer",
    region="nyc3",
    vpc_uuid=network.id,
    droplet_tag=tag.name,
    forwarding_rules=[
        do.LoadBalancerForwardingRuleArgs(
            entry_protocol="https",
            entry_port=443,
            target_protocol="http",
            target_port=80,
            certificate_name=certificate.name,
        )
    ],
    healthcheck=do.LoadBalancerHealthcheckArgs(protocol="http", port=80, path="/healthz"),
    redirect_http_to_https=True,
    disable_lets_encrypt_dns_records=True,
    tls_cipher_policy="STRONG",
)
do.VpcNatGateway(
    "nat",
    type="PUBLIC",
    region="nyc3",
    size=config.get_int("natSize") or 1,
    vpcs=[do.VpcNatGatewayVpcArgs(vpc_uuid=network.id, default_gateway=True)],
)

pulumi.export("uri", pool.private_uri)
pulumi.export("password", user.password)
pulumi.export("clusterPassword", cluster.password)
pulumi.export("secretKey", access.secret_key)
pulumi.export("certificate", do.get_database_ca_output(cluster_id=cluster.id).certificate)
pulumi.export("vpc", network.id)
