"""WebFirewall: what a stranger reaches."""

from typing import Any

from tests.components.recording import EVERYWHERE, Graph, run_program


def test_http_and_https_are_open_and_nothing_else(graph: Graph) -> None:
    """No SSH unless addresses are named."""
    firewall = graph["direct-firewall"].inputs
    assert firewall["tags"] == ["shop-direct"]
    assert firewall["inboundRules"] == [
        {"protocol": "tcp", "portRange": "80", "sourceAddresses": EVERYWHERE},
        {"protocol": "tcp", "portRange": "443", "sourceAddresses": EVERYWHERE},
    ]


def test_everything_may_leave(graph: Graph) -> None:
    """Without outbound rules nothing would: no packages, no database."""
    assert graph["direct-firewall"].inputs["outboundRules"] == [
        {"protocol": "tcp", "portRange": "all", "destinationAddresses": EVERYWHERE},
        {"protocol": "udp", "portRange": "all", "destinationAddresses": EVERYWHERE},
        {"protocol": "icmp", "destinationAddresses": EVERYWHERE},
    ]


def test_ssh_is_open_for_named_addresses_only(settings: dict[str, Any]) -> None:
    """With the user's own key on the Droplet, not a discarded one."""
    graph = run_program(settings | {"network": {"sshFrom": ["203.0.113.7"], "sshKeys": ["512190"]}})
    assert graph["direct-firewall"].inputs["inboundRules"][2] == {
        "protocol": "tcp",
        "portRange": "22",
        "sourceAddresses": ["203.0.113.7"],
    }
    assert graph["web-1"].inputs["sshKeys"] == ["512190"]
    assert "ssh-key" not in graph
    assert "discarded-key" not in graph
