"""LoadBalancer: what visitors come by, where there are several Droplets, and how a site moves there."""

from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from protocol import health
from tests.certificates import Authority
from tests.components import recording
from tests.components.recording import Graph, run_program

OF_THE_BALANCER = ("balancer", "balancer-end", "balancer-firewall", "certificate", "member-1")


@pytest.fixture(scope="module")
def balanced(settings: dict[str, Any]) -> Graph:
    """The program with three Droplets."""
    return run_program(settings | {"web": settings["web"] | {"count": 3, "loadBalancer": True}})


def test_it_ends_tls_and_leads_to_the_droplets_by_their_tag(balanced: Graph) -> None:
    """Strong ciphers, HTTP/2, redirects; no visitor is bound to a Droplet; the name is moved by a record of ours."""
    inputs = balanced["balancer"].inputs
    https, http = inputs.pop("forwardingRules")
    assert (https["entryProtocol"], https["entryPort"], https["targetProtocol"]) == ("http2", 443, "http")
    assert (http["entryProtocol"], http["entryPort"], http["targetPort"]) == ("http", 80, 80)
    assert inputs["redirectHttpToHttps"]
    assert inputs["tlsCipherPolicy"] == "STRONG"
    assert inputs["dropletTag"] == "shop-balanced"
    assert inputs["disableLetsEncryptDnsRecords"]
    assert not {"stickySessions", "enableProxyProtocol", "name"} & inputs.keys()


def test_who_does_not_answer_gets_nobody_after_15_s(balanced: Graph) -> None:
    """A check that was just over, then those that fail; and it asks for no database."""
    check = balanced["balancer"].inputs["healthcheck"]
    assert check["path"] == "/healthz"
    longest = check["checkIntervalSeconds"] + check["unhealthyThreshold"] * check["responseTimeoutSeconds"]
    assert longest == health.UNHEALTHY_WITHIN <= 15


def test_droplets_are_reached_by_the_load_balancer_only(balanced: Graph) -> None:
    """No address opens a port of theirs; and they don't wait for the balancer in order to be made."""
    assert balanced["balanced-firewall"].inputs.get("inboundRules", []) == []
    [rule] = balanced["balancer-firewall"].inputs["inboundRules"]
    assert rule == {"protocol": "tcp", "portRange": "80", "sourceLoadBalancerUids": ["shop-balancer-id"]}
    assert not balanced.waits_for("web-1", "balancer")
    assert "address" not in balanced
    assert balanced["record"].inputs["value"] == "203.0.113.80"


def test_droplets_behind_it_have_no_tls_of_their_own(balanced: Graph) -> None:
    """Port 80, what comes by the VPC is believed, and no certificate is obtained."""
    files = {one["path"]: one["content"] for one in yaml.safe_load(balanced["web-3"].inputs["userData"])["write_files"]}
    assert "set_real_ip_from 10.20.0.0/20;" in files["/etc/nginx/edge/balanced.conf"]
    assert "dport { 80 } accept" in files["/etc/nftables.conf"]
    assert not [path for path in files if "certificate" in path or "tls" in path]


def test_a_member_leaves_before_its_droplet_is_deleted(balanced: Graph) -> None:
    """It does not wait for the balancer's own end, should that go."""
    for number in (1, 2, 3):
        assert balanced.waits_for(f"member-{number}", f"web-{number}")
        assert not balanced.waits_for(f"member-{number}", "balancer")


def test_the_balancer_ends_before_its_firewall(balanced: Graph) -> None:
    """The engine deletes first what depends on others: the end, then the firewall, then (in its turn) the balancer."""
    assert balanced.waits_for("balancer-end", "balancer-firewall")
    assert balanced.waits_for("record", "balancer-end")  # which may be protected, and then nothing ends
    assert balanced["balancer-end"].inputs == {"balancer_id": "shop-balancer-id", "elsewhere": False}


@pytest.mark.parametrize("answer", [{}, {"ip": ""}], ids=["nothing", "no address"])
def test_no_name_leads_to_a_balancer_without_an_address(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], answer: dict[str, Any]
) -> None:
    """A creation that was cut short leaves it in the state so: the error says what to do."""
    monkeypatch.setitem(recording.ANSWERS, "LoadBalancer", lambda _name, _inputs: answer)
    with pytest.raises(pulumi.RunError, match=r"the load balancer has no address.* `pulumi refresh`, then `pulumi up`"):
        run_program(settings | {"web": settings["web"] | {"loadBalancer": True}})


def test_a_site_moves_once_the_new_way_serves(settings: dict[str, Any], balanced: Graph) -> None:
    """At first the record comes beside all else; a site that is served by another way keeps that until the release."""
    assert not balanced.waits_for("record", "rollout")
    web = settings["web"] | {"loadBalancer": True}
    moved = run_program(settings | {"web": web}, outputs={"edge": "direct"})
    assert moved.waits_for("record", "rollout")
    assert moved.waits_for("probe", "handover")
    assert moved["handover"].inputs["droplet_ids"] == ["101"]
    assert (moved["new-address"].inputs["region"], moved["probe"].inputs["edge"]) == ("nyc3", "balanced")
    back = run_program(settings, outputs={"edge": "balanced"})
    assert back.waits_for("record", "assignment")


@pytest.mark.parametrize("setting", ["token", "apiEndpoint"])
def test_a_token_of_the_settings_is_not_for_us(settings: dict[str, Any], setting: str) -> None:
    """The environment's may be another account's, which has no such balancer."""
    web = settings["web"] | {"loadBalancer": True}
    graph = run_program(settings | {"web": web}, provider={setting: "of-the-settings"})
    assert graph["balancer-end"].inputs["elsewhere"] is True


def test_the_users_own_certificate(settings: dict[str, Any], tmp_path: Path) -> None:
    """Both parts are secrets, whatever is done with them; the name stays at others."""
    authority = Authority("somebody's CA")
    chain, key = authority.issue("shop.example", tmp_path / "site")
    own = {"chain": chain.read_text() + authority.pem, "privateKey": key.read_text()}
    web = settings["web"] | {"loadBalancer": True, "certificate": own}
    graph = run_program(settings | {"dns": "external", "web": web})
    kept = {name for name in OF_THE_BALANCER if graph[name].options.protect}
    assert kept == {"balancer", "balancer-end"}, "the rest is replaced with certificate and Droplets"
    certificate = graph["certificate"]
    assert certificate.inputs["type"] == "custom"
    assert certificate.inputs["certificateChain"] == authority.pem
    assert {"privateKey", "leafCertificate", "certificateChain"} <= certificate.secrets
    assert "record" not in graph
