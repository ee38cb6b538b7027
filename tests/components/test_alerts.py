"""Alerts: who is told of what."""

from typing import Any

from tests.components.recording import Graph, run_program


def test_nobody_is_told_unasked(graph: Graph) -> None:
    """There is no default address to write to."""
    assert graph.of_type(":MonitorAlert") == []


def test_cpu_memory_and_disk_of_the_web_droplets(settings: dict[str, Any]) -> None:
    """By tag, so that a Droplet that replaces another is covered; the webhook is a secret."""
    url = "https://hooks.slack.com/services/T0/B0/third-party-secret"
    alerts = {"email": ["ops@shop.example"], "slack": [{"channel": "#ops", "url": url}]}
    made = run_program(settings | {"alerts": alerts}).of_type(":MonitorAlert")
    assert {(alert.inputs["type"], alert.inputs["value"]) for alert in made} == {
        ("v1/insights/droplet/cpu", 90),
        ("v1/insights/droplet/memory_utilization_percent", 90),
        ("v1/insights/droplet/disk_utilization_percent", 80),
    }
    for alert in made:
        assert alert.inputs["tags"] == ["shop-web"]
        assert alert.inputs["alerts"] == {"emails": ["ops@shop.example"], "slacks": [{"channel": "#ops", "url": url}]}
        assert "alerts" in alert.secrets
