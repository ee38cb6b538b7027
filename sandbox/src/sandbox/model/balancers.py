"""What a store says of load balancers: their members, and what the network has of them."""

from ipaddress import ip_network

from sandbox.model import topology as shape
from sandbox.model.store import Body, Resource, Resources, Store


def members(store: Store, balancer: Resource) -> Resources:
    """Return the Droplets behind a load balancer: those that are named, or those that have its tag in its VPC."""
    body = balancer.body
    droplets = [droplet for droplet in store.list("droplet") if droplet.body["vpc_uuid"] == body["vpc_uuid"]]
    if body["tag"]:
        return [droplet for droplet in droplets if body["tag"] in droplet.body["tags"]]
    return [droplet for droplet in droplets if int(droplet.id) in body["droplet_ids"]]


def balancer(store: Store, found: Resource) -> shape.LoadBalancer:
    """Return a load balancer as the network has it."""
    body = found.body
    vpc = store.get("vpc", body["vpc_uuid"])
    assert vpc is not None, "a VPC with members can't be deleted"
    sticky, firewall = body["sticky_sessions"], body["firewall"]
    cookie = (sticky["cookie_name"], sticky["cookie_ttl_seconds"]) if sticky["type"] == "cookies" else None
    return shape.LoadBalancer(
        id=found.id,
        name=body["name"],
        public_ip=found.private["public_ip"],
        private_ip=found.private["private_ip"],
        vpc_id=vpc.id,
        vpc_range=vpc.body["ip_range"],
        members=tuple(sorted(droplet.private["private_ip"] for droplet in members(store, found))),
        rules=tuple(_rule(rule) for rule in body["forwarding_rules"]),
        health_check=_health_check(body["health_check"]),
        algorithm=body["algorithm"],
        cookie=cookie,
        redirects=body["redirect_http_to_https"],
        proxy_protocol=body["enable_proxy_protocol"],
        backend_keepalive=body["enable_backend_keepalive"],
        idle_timeout=body["http_idle_timeout_seconds"],
        strong_ciphers=body["tls_cipher_policy"] == "STRONG",
        allow=tuple(map(_network, firewall["allow"])),
        deny=tuple(map(_network, firewall["deny"])),
    )


def balancers(store: Store) -> tuple[shape.LoadBalancer, ...]:
    """Return all load balancers as the network has them, but for those that could not be made."""
    return tuple(balancer(store, one) for one in store.list("load_balancer") if one.body["status"] != "errored")


def certificates(store: Store) -> tuple[shape.Certificate, ...]:
    """Return the certificates that load balancers use."""
    used = {rule["certificate_id"] for found in store.list("load_balancer") for rule in found.body["forwarding_rules"]}
    return tuple(
        shape.Certificate(id=found.id, chain=found.private["chain"], key=found.private["key"])
        for found in store.list("certificate")
        if found.id in used
    )


def _rule(rule: Body) -> shape.ForwardingRule:
    return shape.ForwardingRule(
        entry_protocol=rule["entry_protocol"],
        entry_port=rule["entry_port"],
        target_protocol=rule["target_protocol"],
        target_port=rule["target_port"],
        certificate_id=rule["certificate_id"],
        passthrough=rule["tls_passthrough"],
    )


def _health_check(check: Body) -> shape.HealthCheck:
    return shape.HealthCheck(
        protocol=check["protocol"],
        port=check["port"],
        path=check["path"],
        interval=check["check_interval_seconds"],
        timeout=check["response_timeout_seconds"],
        unhealthy_threshold=check["unhealthy_threshold"],
        healthy_threshold=check["healthy_threshold"],
    )


def _network(source: str) -> str:
    """Return what a rule of the balancer's own firewall means, such as "ip:192.0.2.1" or "cidr:192.0.2.0/24"."""
    return str(ip_network(source.partition(":")[2], strict=False))
