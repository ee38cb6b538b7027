"""PublicName: the domain and its record, where they are managed here."""

from typing import Any

from tests.components.recording import Graph, run_program


def test_managed_dns_points_the_apex_at_the_reserved_ip(graph: Graph) -> None:
    """The domain is the site's own name, so its apex is the site."""
    assert graph["domain"].inputs == {"name": "shop.example"}
    record = graph["record"].inputs
    assert (record["domain"], record["type"], record["name"], record["value"]) == (
        "shop.example",
        "A",
        "@",
        "203.0.113.9",
    )


def test_visitors_follow_a_moved_name_within_a_minute(graph: Graph) -> None:
    """No resolver keeps the record longer, whenever the day of a move comes."""
    assert graph["record"].inputs["ttl"] == 60


def test_external_dns_leaves_the_name_alone(settings: dict[str, Any]) -> None:
    """The probe then says which record to create."""
    graph = run_program(settings | {"dns": "external"})
    assert "domain" not in graph
    assert "record" not in graph
    assert graph["probe"].inputs["dns"] == "external"
    assert graph["probe"].inputs["address"] == "203.0.113.9"
