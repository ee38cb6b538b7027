"""Stacks for the policy pack, by their names: `bad-…` break one rule each, `good-…` stand beside them and keep it."""

import json
import signal

import pulumi
import pulumi_digitalocean as do

# As the project's own program does: after a violation the engine ends it by SIGINT, and would wait 5 s for Python.
signal.signal(signal.SIGINT, signal.SIG_DFL)

EVERYWHERE = "0.0.0.0/0"
ORIGIN = "https://example.com"
PROTECTED = pulumi.ResourceOptions(protect=True)


class Document(pulumi.CustomResource):
    """An environment, as the program has one: with a secret of the settings that is an output of nothing."""

    def __init__(self, name: str, document: dict[str, dict[str, str]]) -> None:
        secret = pulumi.Output.secret(json.dumps(document))
        super().__init__("digitalocean:index/environment:Environment", name, {"document": secret})


def cluster(name: str, *, nodes: int = 2, size: str = "db-s-1vcpu-2gb", **other: object) -> do.DatabaseCluster:
    """Return a cluster that keeps all rules but those that `other` breaks."""
    arguments = {"private_network_uuid": "11111111-1111-1111-1111-111111111111", "tags": ["shop"], "opts": PROTECTED}
    arguments |= {"engine": "pg"}
    return do.DatabaseCluster(name, version="17", size=size, region="nyc3", node_count=nodes, **(arguments | other))


def trusted(name: str, of: do.DatabaseCluster, *values: str) -> None:
    """Close a cluster to all but these."""
    rules = [do.DatabaseFirewallRuleArgs(type="ip_addr", value=value) for value in values]
    do.DatabaseFirewall(name, cluster_id=of.id, rules=rules)


def pool(name: str, of: do.DatabaseCluster, **other: object) -> None:
    """Make a pool that keeps all rules but those that `other` breaks."""
    arguments = {"mode": "transaction", "size": 10, "user": "app"}
    do.DatabaseConnectionPool(name, cluster_id=of.id, db_name="app", **(arguments | other))


def droplet(name: str, user_data: pulumi.Input[str] = "#cloud-config\n", **other: object) -> do.Droplet:
    """Make a Droplet that keeps all rules but those that `other` breaks."""
    arguments = {"tags": ["web"], "backups": True}
    return do.Droplet(
        name, image="debian-13-x64", size="s-1vcpu-1gb", region="nyc3", user_data=user_data, **(arguments | other)
    )


def firewall(name: str, port: str | None, *sources: str, protocol: str = "tcp", tags: tuple[str, ...] = ()) -> None:
    """Open one port, or all."""
    rule = do.FirewallInboundRuleArgs(protocol=protocol, port_range=port, source_addresses=list(sources))
    do.Firewall(name, tags=list(tags), inbound_rules=[rule])


def alert(name: str, *, enabled: bool) -> None:
    """Ask for a mail when the processor is busy."""
    do.MonitorAlert(
        name,
        type="v1/insights/droplet/cpu",
        compare="GreaterThan",
        value=95,
        window="5m",
        description="busy",
        enabled=enabled,
        tags=["web"],
        entities=[],
        alerts=do.MonitorAlertAlertsArgs(emails=["ops@example.com"]),
    )


def cors(name: str, *origins: str) -> None:
    """Let these sites read a Space."""
    rule = do.SpacesBucketCorsConfigurationCorsRuleArgs(allowed_origins=list(origins), allowed_methods=["GET"])
    do.SpacesBucketCorsConfiguration(name, bucket="assets", region="nyc3", cors_rules=[rule])


def key(name: str, bucket: str, permission: str) -> do.SpacesKey:
    """Make a key with one grant."""
    return do.SpacesKey(name, grants=[do.SpacesKeyGrantArgs(bucket=bucket, permission=permission)])


def passing() -> None:
    """Make a production stack that lacks nothing, with what comes close to each rule."""
    pulumi.export("production", value=True)
    cors("cors", ORIGIN, "https://admin.example.com:8443")
    agent, app = key("shop-agent-key", "releases", "read"), key("app-key", "media", "readwrite")
    main = cluster("db")
    trusted("trusted", main, "203.0.113.7", "203.0.113.128/25")
    pool("pool", main, size=40)
    pool("reports", main, size=7)  # 47 of 47
    for name, other in (
        ("db-larger", {"size": "db-s-4vcpu-8gb"}),  # that is there already
        ("db-new-advanced", {"engine": "advanced_pg", "size": "gd-2vcpu-8gb"}),
        ("db-new-unknown", {"size": main.host, "nodes": main.port}),
    ):
        trusted(f"{name}-trusted", cluster(name, **other), "203.0.113.7")
    user = do.DatabaseUser("user", cluster_id=main.id, name="app")
    # Nothing of these is known in a preview, and none of it is a problem.
    unknown = main.host
    cors("cors-unknown", unknown)
    key("key-unknown", unknown, "read")
    trusted("trusted-unknown", main, unknown)
    pool("pool-unknown", main, mode=unknown, user=unknown, size=main.port)
    firewall("firewall", "443", EVERYWHERE, tags=("web",))
    firewall("firewall-ssh", "22", "203.0.113.7")
    firewall("firewall-dns", None, EVERYWHERE, protocol="udp")
    firewall("firewall-unknown", unknown, EVERYWHERE)
    firewall("firewall-unknown-source", "22", unknown)
    droplet("web-1", agent.secret_key.apply(lambda secret: f"#cloud-config\nkey: {secret}\n"))
    droplet("web-2", "#" * 65536)
    droplet("web-3", "postgres://app@db.example:25060/app example.com")
    droplet("web-4", unknown, tags=["web", unknown])
    Document("environment", {"env": {"ALLOWED_HOSTS": "example.com", "SECRET_KEY": "of-the-settings"}})
    for name, protect in (("shop-media", True), ("shop-assets", False)):
        do.SpacesBucket(name, region="nyc3", opts=pulumi.ResourceOptions(protect=protect))
    do.ReservedIp("address", region="nyc3", opts=PROTECTED)
    do.Domain("domain", name="example.com", opts=PROTECTED)
    alert("alert", enabled=True)
    alert("alert-off", enabled=False)
    pulumi.export("unused", [app.access_key, user.name])


def violating_clusters() -> None:
    """Break each rule for clusters that stand for themselves."""
    cluster("bad-db-open")
    for name, other in (
        ("bad-db-public", {"private_network_uuid": None}),
        ("bad-db-untagged", {"tags": []}),
        ("bad-db-unprotected", {"opts": None}),
        ("bad-db-single", {"nodes": 1}),
    ):
        trusted(f"{name}-trusted", cluster(name, **other), "203.0.113.7")
    for name, other in (
        ("bad-db-new-standby", {}),
        ("bad-db-new-large", {"size": "db-s-4vcpu-8gb"}),
    ):
        trusted(f"{name}-trusted", cluster(name, **other), "203.0.113.7")
    crowded = cluster("bad-db-crowded")
    trusted("crowded-trusted", crowded, "203.0.113.7")
    pool("crowded-pool", crowded, size=30)
    pool("crowded-reports", crowded, size=18)  # 48 of 47


def violating() -> None:
    """Break each rule once or more, beside a resource that keeps it."""
    pulumi.export("production", value=True)
    cors("bad-cors", ORIGIN, "*")
    cors("bad-cors-subdomains", "https://*.example.com")
    cors("bad-cors-plain", "http://example.com")
    do.SpacesBucket(
        "bad-cors-of-bucket",
        region="nyc3",
        cors_rules=[do.SpacesBucketCorsRuleArgs(allowed_origins=["*"], allowed_methods=["GET"])],
    )
    cors("good-cors", ORIGIN)
    key("bad-key-full", "", "fullaccess")
    key("bad-key-everywhere", "", "read")
    app = key("good-key", "media", "readwrite")
    good = cluster("good-db")
    trusted("good-trusted", good, "203.0.113.7")
    pool("good-pool", good)
    user = do.DatabaseUser("user", cluster_id=good.id, name="app")
    trusted("bad-trusted-everywhere", good, EVERYWHERE)
    trusted("bad-trusted-ipv6", good, "::/0")
    trusted("bad-trusted-empty", good)
    trusted("bad-trusted-halves", good, "0.0.0.0/1", "128.0.0.0/1")
    violating_clusters()
    pool("bad-pool-session", good, mode="session")
    pool("bad-pool-admin", good, user="doadmin")
    pool("bad-pool-nobody", good, user=None)
    firewall("good-firewall", "443", EVERYWHERE, tags=("web",))
    for name, port, sources in (
        ("bad-firewall-22", "22", (EVERYWHERE,)),
        ("bad-firewall-range", "20-1024", ("::/0",)),
        ("bad-firewall-all", "all", (EVERYWHERE,)),
        ("bad-firewall-no-range", None, (EVERYWHERE,)),
        ("bad-firewall-halves", "22", ("0.0.0.0/1", "128.0.0.0/1")),
    ):
        firewall(name, port, *sources)
    droplet("good-droplet")
    droplet("bad-droplet-untagged", tags=[])
    droplet("bad-droplet-naked", tags=["else"])
    droplet("bad-droplet-no-backups", backups=False)
    droplet("bad-data-large", "é" * 32769)
    droplet("bad-data-token", f"token: dop_v1_{'0123456789abcdef' * 4}")
    droplet("bad-data-pem", "-----BEGIN RSA PRIVATE KEY-----")
    droplet("bad-data-uri", "DATABASE_URL=postgres://app:hunter2@db.example:25060/app")
    droplet("bad-data-password", user.password.apply(lambda secret: f"password: {secret}"))
    droplet("bad-data-app-key", app.secret_key.apply(lambda secret: f"key: {secret}"))
    Document("environment", {"env": {"SECRET_KEY": "of-the-settings"}, "release_env": {}})
    droplet("bad-data-setting", "SECRET_KEY=of-the-settings")
    do.SpacesBucket("bad-media", region="nyc3", opts=None)
    do.ReservedIp("bad-address", region="nyc3")
    do.Domain("bad-domain", name="example.com")
    alert("alert-off", enabled=False)


def modest() -> None:
    """Break the rules for production where they do not hold."""
    pulumi.export("production", value=False)
    trusted("trusted", cluster("db", nodes=1, opts=None), "203.0.113.7")
    firewall("firewall", "443", EVERYWHERE, tags=("web",))
    droplet("web", backups=False)


def accepting() -> None:
    """Accept, by name, what production does without, and what a new cluster may not have everywhere."""
    pulumi.export("production", value=True)
    pulumi.export("accepted", ["database.acceptNoFailover", "database.acceptPlan"])
    trusted("trusted", cluster("db-new", nodes=1, size="db-s-4vcpu-8gb"), "203.0.113.7")
    firewall("firewall", "443", EVERYWHERE, tags=("web",))
    droplet("web-1")
    droplet("web-2")
    alert("alert", enabled=True)


def silent() -> None:
    """Do not say whether it is production."""
    do.Domain("domain", name="example.com")


{"passing": passing, "violating": violating, "modest": modest, "accepting": accepting, "silent": silent}[
    pulumi.get_stack()
]()
