"""A load balancer of a full world carries traffic: what a visitor and a Droplet see of it, and what no change loses."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sandbox.machines import machine
from sandbox.network import namespaces
from sandbox.network.packet_filter import balancer_machine, droplet_machine
from sandbox.parts.balancers import balancers, runtime
from sandbox.tests.balanced_site import CHECK, DETECTED, DOMAIN, EVERYBODY, USER_DATA, WORKERS, Site
from sandbox.tests.test_world_full import Api, eventually, fetch
from sandbox.world.supervisor import Supervisor
from sandbox.world.world import INTERNET_SIDE, World
from tests.certificates import Authority
from tests.commands import run

pytestmark = pytest.mark.full


def wait_active(api: Api, balancer_id: str) -> dict[str, Any]:
    """The load balancer, as soon as it serves."""
    path = f"/load_balancers/{balancer_id}"
    eventually("it is active", lambda: api("GET", path)["load_balancer"]["status"] == "active")
    found: dict[str, Any] = api("GET", path)["load_balancer"]
    return found


@pytest.fixture(scope="module")
def site(full_world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Droplets, certificates, load balancer, firewall; destroyed at the end."""
    api = Api(full_world)
    vpc = api("POST", "/vpcs", {"name": "balanced", "region": "nyc3", "ip_range": "10.97.0.0/20"})["vpc"]
    droplet = {"region": "nyc3", "size": "s-1vcpu-512mb-10gb", "image": "debian-13-x64", "vpc_uuid": vpc["id"]}
    droplet |= {"user_data": USER_DATA, "tags": ["balanced"]}
    ids = [droplet["id"] for droplet in api("POST", "/droplets", droplet | {"names": ["one", "two"]})["droplets"]]
    api("POST", "/domains", {"name": DOMAIN})
    managed = {"name": "theirs", "type": "lets_encrypt", "dns_names": [DOMAIN]}
    theirs = api("POST", "/certificates", managed)["certificate"]
    folder = tmp_path_factory.mktemp("uploaded")
    authority = Authority("a customer's CA")
    authority.write(folder / "ca")
    crt, key = authority.issue(DOMAIN, folder / "shop")
    pem = {"leaf_certificate": crt.read_text(), "private_key": key.read_text(), "certificate_chain": authority.pem}
    mine = api("POST", "/certificates", {"name": "mine", "type": "custom", **pem})["certificate"]
    path = f"/certificates/{theirs['id']}"
    eventually("it is verified", lambda: api("GET", path)["certificate"]["state"] == "verified")
    target = {"target_protocol": "http", "target_port": 80}
    rules = [
        {"entry_protocol": "https", "entry_port": 443, "certificate_id": theirs["id"], **target},
        {"entry_protocol": "http2", "entry_port": 8443, "certificate_id": mine["id"], **target},
    ]
    body = {"name": "site", "region": "nyc3", "vpc_uuid": vpc["id"], "droplet_ids": ids, "forwarding_rules": rules}
    body |= {"redirect_http_to_https": True, "health_check": {"protocol": "http", "path": "/healthz", **CHECK}}
    balancer = wait_active(api, api("POST", "/load_balancers", body)["load_balancer"]["id"])
    firewall = {
        "name": "balanced",
        "tags": ["balanced"],
        "inbound_rules": [
            {"protocol": "tcp", "ports": "80-81", "sources": {"load_balancer_uids": [balancer["id"]]}},
        ],
        "outbound_rules": [{"protocol": kind, "ports": "0", "destinations": EVERYBODY} for kind in ("tcp", "udp")],
    }
    made = api("POST", "/firewalls", firewall)["firewall"]
    machines = [machine.load_machine(full_world, droplet_machine(number)) for number in ids]
    found = Site(
        api=api,
        world=full_world,
        ids=ids,
        machines=machines,
        balancer=balancer,
        firewall=f"/firewalls/{made['id']}",
        uploaded=folder / "ca.crt",
    )
    eventually("both are healthy", lambda: found.health() == {"one": "healthy", "two": "healthy"}, timeout=60)
    yield found
    api("DELETE", f"/load_balancers/{balancer['id']}")
    for certificate in api("GET", "/certificates")["certificates"]:
        api("DELETE", f"/certificates/{certificate['id']}")
    for number in ids:
        api("DELETE", f"/droplets/{number}")
    eventually("they are gone", lambda: not {d["id"] for d in api("GET", "/droplets")["droplets"]} & set(ids))
    for left in (found.firewall, f"/domains/{DOMAIN}", f"/vpcs/{vpc['id']}", "/tags/balanced"):
        api("DELETE", left)


def test_members_take_turns_and_learn_of_the_visitor(site: Site) -> None:
    """By the name that DigitalOcean's record leads to: each second request, with the visitor's address and scheme."""
    answers = site.visit(
        """
answer = [json.loads(get(connect(given["domain"], 443), **{"X-Forwarded-For": "192.0.2.9"})[2]) for _ in range(10)]
"""
    )
    assert Counter(answer["host"] for answer in answers) == {"one": 5, "two": 5}
    forwarded = {name: value for name, value in answers[0]["headers"].items() if name.startswith("x-forwarded")}
    assert forwarded["x-forwarded-proto"] == "https"
    assert forwarded["x-forwarded-port"] == "443"
    assert forwarded["x-forwarded-for"].endswith(INTERNET_SIDE)


def test_http_leads_to_https(site: Site) -> None:
    """With a status that keeps the method."""
    status, headers, _ = site.visit("answer = fetch('http://' + given['domain'] + '/a?b=c', 'POST', b'x')")
    assert (status, headers["location"]) == (307, f"https://{DOMAIN}/a?b=c")


def test_each_port_has_its_certificate_and_protocol(site: Site) -> None:
    """Let's Encrypt's, which a visitor trusts, with HTTP/1.1; and what was uploaded, with HTTP/2; TLS 1.2 at least."""
    seen = site.visit(
        """
def shake(port, context):
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection((given["domain"], port), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname=given["domain"]) as secure:
            return dict(x[0] for x in secure.getpeercert()["issuer"])["commonName"], secure.selected_alpn_protocol()

answer = [shake(443, ssl.create_default_context()), shake(8443, ssl.create_default_context(cafile=given["ca"]))]
old = ssl.create_default_context()
old.maximum_version = ssl.TLSVersion.TLSv1_1
old.set_ciphers("ALL:@SECLEVEL=0")
try:
    answer.append(shake(443, old))
except (ssl.SSLError, ConnectionError) as error:
    answer.append("refused")
""",
        ca=str(site.uploaded),
    )
    assert seen[0][0].startswith("Pebble Intermediate CA")
    assert [seen[0][1], seen[1], seen[2]] == ["http/1.1", ["a customer's CA", "h2"], "refused"]


def test_only_its_leg_passes_the_firewall(site: Site) -> None:
    """The site's port is closed to strangers and neighbours, and so is every port of the balancer without a rule."""
    one, two = (machine.hardware for machine in site.machines)
    closed = (
        (site.world, one.public_ip),
        (site.machines[1], one.private_ip),
        (site.machines[0], f"{two.private_ip}:81"),
        (site.world, f"{site.balancer['ip']}:81"),
    )
    with ThreadPoolExecutor() as pool:
        assert list(pool.map(lambda tried: fetch(*tried), closed)) == ["000"] * len(closed)
    assert fetch(site.machines[0], site.balancer["ip"]) == "307"  # a Droplet is a visitor as any other


def test_a_member_that_goes_loses_nothing(site: Site, tmp_path: Path) -> None:
    """What it is asked already it answers, new requests go to the other; it comes back when its checks have passed."""
    path, gone = f"/load_balancers/{site.balancer['id']}/droplets", {"droplet_ids": [site.ids[1]]}
    slow = """
# At a port where nobody else is, whose members take turns.
started = threading.Barrier(3)
found = []
def wait():
    connection = connect(given["domain"], 8443, ssl.create_default_context(cafile=given["ca"]))
    connection.connect()
    started.wait()
    found.append(json.loads(get(connection, "/slow")[2])["host"])
threads = [threading.Thread(target=wait) for _ in range(2)]
for thread in threads:
    thread.start()
started.wait()
time.sleep(0.3)  # until both are with their members
api("DELETE", given["path"], given["gone"])
for thread in threads:
    thread.join()
answer = sorted(found)
"""
    with site.under_load(tmp_path) as result:
        assert site.visit(slow, path=f"/v2{path}", gone=gone, ca=str(site.uploaded)) == ["one", "two"]
        assert site.health() == {"one": "healthy", "two": "draining"}
        answers = site.visit("answer = [json.loads(get(connect(given['domain'], 443))[2])['host'] for _ in range(6)]")
        assert set(answers) == {"one"}
        site.api("POST", path, gone)
        assert site.health()["two"] == "down"
        eventually("it is healthy again", lambda: site.health() == {"one": "healthy", "two": "healthy"}, DETECTED)
        both = "answer = [json.loads(get(connect(given['domain'], 443))[2])['host'] for _ in range(6)]"
        assert set(site.visit(both)) == {"one", "two"}
        seen = result()
    assert seen["lost"] == []
    assert len(seen["hosts"]) > 100


def test_a_member_that_fails_is_out_within_its_check_time(site: Site, tmp_path: Path) -> None:
    """Visitors lose at most what is with it at that moment: what it doesn't take any more goes to the other one."""
    two = site.machines[1]
    with site.under_load(tmp_path) as result:
        two.run(["systemctl", "kill", "--signal=KILL", "site"])
        eventually("it is down", lambda: site.health() == {"one": "healthy", "two": "down"}, DETECTED)
        seen = result()
    assert len(seen["lost"]) <= WORKERS, seen["lost"]
    two.run(["systemd-run", "--unit=site", "--collect", "python3", "/root/server.py"])


def test_without_a_healthy_member_it_says_503(site: Site) -> None:
    """As DigitalOcean's; members begin as down, so a new balancer does, too."""
    site.put(droplet_ids=[])
    assert site.visit("answer = get(connect(given['domain'], 443))[0]") == 503
    site.put()
    eventually("both are healthy", lambda: site.health() == {"one": "healthy", "two": "healthy"}, DETECTED)


def test_changes_lose_nothing(site: Site, tmp_path: Path) -> None:
    """A certificate that is renewed, sticky sessions and strong ciphers, one after the other, under load."""
    served = """
with socket.create_connection((given["domain"], 443), timeout=10) as plain:
    with trust.wrap_socket(plain, server_hostname=given["domain"]) as secure:
        answer = [secure.getpeercert()["serialNumber"], secure.cipher()[0]]
"""
    sticky = {"type": "cookies", "cookie_name": "DO-LB", "cookie_ttl_seconds": 300}
    [theirs] = site.api("GET", "/certificates?name=theirs")["certificates"]
    before = site.visit(served)
    with site.under_load(tmp_path) as result:
        renewed = ["curl", "-sS", "--fail", "-X", "POST", "-H", f"Authorization: Bearer {site.world.token}"]
        renewed.append(f"https://api.digitalocean.com/_sandbox/certificates/{theirs['id']}/renew")
        run("sandbox", "exec", *renewed, home=site.world.home)
        rules = site.api("GET", f"/load_balancers/{site.balancer['id']}")["load_balancer"]["forwarding_rules"]
        after = site.visit(served)
        site.put(forwarding_rules=rules, sticky_sessions=sticky, tls_cipher_policy="STRONG")
        site.balancer["forwarding_rules"] = rules
        answers = site.visit(
            """
status, headers, body = get(connect(given["domain"], 443))
cookie = headers["set-cookie"]
answer = [json.loads(get(connect(given["domain"], 443), Cookie=cookie.partition(";")[0])[2]) for _ in range(4)]
answer = {"first": json.loads(body)["host"], "cookie": cookie, "then": answer}
"""
        )
        seen = result()
    assert before[0] != after[0]
    assert "Max-Age=300" in answers["cookie"]
    assert {then["host"] for then in answers["then"]} == {answers["first"]}
    assert "cookie" not in answers["then"][0]["headers"]
    assert seen["lost"] == []
    site.put()


def test_members_learn_of_the_visitor_by_proxy_protocol(site: Site) -> None:
    """Of plain TCP, by a second balancer with a firewall of its own; what is left of a member's connections ends."""
    rule = {"entry_protocol": "tcp", "entry_port": 9000, "target_protocol": "tcp", "target_port": 81}
    body = {"name": "lines", "region": "nyc3", "vpc_uuid": site.balancer["vpc_uuid"], "droplet_ids": site.ids[:1]}
    body |= {"forwarding_rules": [rule], "health_check": {"protocol": "tcp", "port": 81, **CHECK}}
    made = site.api("POST", "/load_balancers", body | {"enable_proxy_protocol": True})["load_balancer"]
    lines, name, address = wait_active(site.api, made["id"]), balancer_machine(made["id"]), site.private(0)
    peers = {"sources": {"load_balancer_uids": [made["id"]]}}
    site.api("POST", f"{site.firewall}/rules", {"inbound_rules": [{"protocol": "tcp", "ports": "81", **peers}]})
    eventually("it is up", lambda: balancers.health(site.world, made["id"]) == {address: "healthy"}, DETECTED)
    ask = """
connection = socket.create_connection((given["ip"], 9000), timeout=30)
answer = connection.makefile().readline().split()
"""
    assert site.visit(ask, ip=lines["ip"])[:4] == ["PROXY", "TCP4", INTERNET_SIDE, lines["ip"]]
    worker, master = site.world.run / name, site.world.run / f"{name}-m"
    with ThreadPoolExecutor() as pool:
        closed = pool.submit(site.visit, ask + "answer = [answer[0], connection.recv(1).decode()]", ip=lines["ip"])
        eventually("it is connected", lambda: f"srv={address}" in runtime.ask(worker, "show sess"))
        site.api("DELETE", f"/load_balancers/{made['id']}/droplets", {"droplet_ids": site.ids[:1]})
        assert balancers.health(site.world, made["id"]) == {address: "draining"}
        assert not closed.done()
        runtime.end_connections(master, address)  # which else is a minute later
        assert closed.result() == ["PROXY", ""]
    refused = {name: made[name] for name in ("name", "forwarding_rules")} | {
        "firewall": {"deny": ["cidr:198.51.100.0/24"]}
    }
    site.api("PUT", f"/load_balancers/{made['id']}", refused)
    assert fetch(site.world, f"{lines['ip']}:9000") == "000"
    site.api("DELETE", f"/load_balancers/{made['id']}")
    assert namespaces.machine_namespace(name) not in namespaces.namespaces()
    assert [path for path in (worker, master, site.world.home / "balancers" / name) if path.exists()] == []


def test_a_process_that_dies_comes_back(site: Site) -> None:
    """With its configuration, within seconds; its own members are not lost of sight."""
    program = balancers.program_of(site.balancer["id"])

    def process() -> int:
        return next(one.pid for one in Supervisor(site.world).status() if one.name == program)

    before = process()
    os.kill(before, signal.SIGKILL)
    eventually("there is another", lambda: process() not in {0, before})
    status = "answer = get(connect(given['domain'], 443))[0]"
    eventually("it serves", lambda: site.visit(f"try:\n    {status}\nexcept OSError:\n    answer = 0") == 200)
    assert site.health() == {"one": "healthy", "two": "healthy"}
