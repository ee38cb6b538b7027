"""HAProxy is told what the API says of a load balancer, and nothing else; whether it obeys is test_balancer_full's."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.model.topology import ForwardingRule, HealthCheck, LoadBalancer
from sandbox.parts.balancers import draining, runtime
from sandbox.parts.balancers.configuration import Places, generation_of, render, states
from sandbox.parts.balancers.draining import Draining
from tests.api_client import until

GOLDEN = Path(__file__).parent / "balancers"
PLACES = Places(state=Path("/world/state"), socket=Path("/world/socket"), certificates=Path("/world/certificates"))


def rule(entry: str, target: str, certificate: str = "", *, passthrough: bool = False) -> ForwardingRule:
    """Make a rule of two protocols with their ports, such as "https:443" and "http:80"."""
    (entry_protocol, entry_port), (target_protocol, target_port) = (side.split(":") for side in (entry, target))
    return ForwardingRule(
        entry_protocol=entry_protocol,
        entry_port=int(entry_port),
        target_protocol=target_protocol,
        target_port=int(target_port),
        certificate_id=certificate,
        passthrough=passthrough,
    )


PLAIN = LoadBalancer(
    id="12345678-0000-0000-0000-000000000000",
    name="plain",
    public_ip="198.51.100.150",
    private_ip="10.10.0.30",
    vpc_id="v",
    vpc_range="10.10.0.0/20",
    members=("10.10.0.10", "10.10.0.11"),
    rules=(rule("http:80", "http:80"), rule("https:443", "https:443", passthrough=True), rule("tcp:5432", "tcp:25060")),
    health_check=HealthCheck(
        protocol="tcp", port=80, path="", interval=10, timeout=5, unhealthy_threshold=3, healthy_threshold=5
    ),
    algorithm="least_connections",
    cookie=None,
    redirects=False,
    proxy_protocol=False,
    backend_keepalive=False,
    idle_timeout=60,
    strong_ciphers=False,
    allow=(),
    deny=(),
)
FULL = replace(
    PLAIN,
    name="full",
    rules=(rule("http2:443", "http:80", "cert-1"), rule("https:8443", "https:443", "cert-2")),
    health_check=HealthCheck(
        protocol="https", port=443, path="/it's up?", interval=3, timeout=4, unhealthy_threshold=2, healthy_threshold=2
    ),
    algorithm="round_robin",
    cookie=("DO-LB", 300),
    redirects=True,
    proxy_protocol=True,
    backend_keepalive=True,
    idle_timeout=90,
    strong_ciphers=True,
)


@pytest.mark.parametrize("balancer", [PLAIN, FULL], ids=lambda balancer: balancer.name)
def test_the_configuration_has_these_bytes(balancer: LoadBalancer) -> None:
    """Of one with little, and of one with everything; UPDATE_GOLDEN=1 accepts others."""
    golden = GOLDEN / f"{balancer.name}.cfg"
    text = render(balancer, PLACES)
    if os.environ.get("UPDATE_GOLDEN") == "1":
        golden.write_text(text)
    assert text == golden.read_text()


def test_another_configuration_is_another_generation() -> None:
    """It is what HAProxy answers, so that a change is known to be served."""
    text = render(PLAIN, PLACES)
    assert f'string "{generation_of(text)}"' in text
    assert generation_of(text) == generation_of(render(PLAIN, PLACES))
    assert generation_of(text) != generation_of(render(replace(PLAIN, members=("10.10.0.10",)), PLACES))


def test_members_are_believed_to_be_as_they_were() -> None:
    """Healthy ones stay so in a new configuration; all others are down until they have passed their checks."""
    rows = [line.split() for line in states(PLAIN, {"10.10.0.10", "10.10.0.99"}).splitlines()]
    assert rows[0] == ["1"]
    assert [(row[1], row[3], row[5], row[12]) for row in rows[2:]] == [
        ("members", "10.10.0.10", "2", "7"),
        ("members", "10.10.0.11", "0", "0"),
    ]
    assert {len(row) for row in rows[2:]} == {len(rows[1]) - 1}  # whose first column is the mark of a comment


def test_connections_of_members_that_went_end_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in its time, though the API was started anew; not those of one that came back."""
    ended: list[str] = []
    monkeypatch.setattr(runtime, "end_connections", lambda _master, member: ended.append(member))
    monkeypatch.setattr(draining, "SECONDS", 3600.0)
    file = tmp_path / "draining.json"
    first = Draining(file, tmp_path / "master")
    first.change({"10.10.0.10", "10.10.0.11"}, {"10.10.0.12"})
    assert sorted(draining.read(file)) == ["10.10.0.10", "10.10.0.11"]
    first.stop()
    file.write_text('{"10.10.0.10": 1.0, "10.10.0.11": 1.0, "10.10.0.13": 9999999999.0}')
    again = Draining(file, tmp_path / "master")
    again.change(set(), {"10.10.0.11", "10.10.0.12"})
    until(lambda: list(ended), lambda found: found == ["10.10.0.10"])
    assert list(draining.read(file)) == ["10.10.0.13"]
    again.stop()
    until(lambda: [one for one in threading.enumerate() if isinstance(one, threading.Timer)], lambda left: not left)
