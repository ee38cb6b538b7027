"""ObjectStorage: four private buckets, scoped keys, exact CORS, CDN."""

from typing import Any

import pytest

from tests.components.recording import Graph, run_program


@pytest.mark.parametrize(
    ("role", "force_destroy"), [("assets", False), ("media", False), ("releases", True), ("state", True)]
)
def test_a_bucket(graph: Graph, role: str, *, force_destroy: bool) -> None:
    """Private, auto-named; what people uploaded is not destroyed unless the settings say so."""
    bucket = graph[role]
    assert bucket.inputs == {"region": "nyc3", "acl": "private", "forceDestroy": force_destroy}
    assert list(bucket.options.replaceOnChanges) == ["name"]


def test_cors_names_the_site_alone(graph: Graph) -> None:
    """No wildcard, reading methods only."""
    assert graph["assets-cors"].inputs["corsRules"] == [
        {"allowedOrigins": ["https://shop.example"], "allowedMethods": ["GET", "HEAD"], "maxAgeSeconds": 600}
    ]
    assert graph["assets-cors"].inputs["bucket"] == "shop-assets-1a2b3c4"


def test_the_cdn_serves_the_assets(graph: Graph) -> None:
    """And no other bucket."""
    assert graph["cdn"].inputs == {"origin": "shop-assets.nyc3.example", "ttl": 3600}
    assert len(graph.of_type(":Cdn")) == 1


def test_keys_may_do_what_their_holder_does_and_no_more(graph: Graph) -> None:
    """The agent never reads media; the app sees nothing but media."""
    assert graph["agent-key"].inputs["grants"] == [
        {"bucket": "shop-releases-1a2b3c4", "permission": "read"},
        {"bucket": "shop-assets-1a2b3c4", "permission": "readwrite"},
        {"bucket": "shop-state-1a2b3c4", "permission": "readwrite"},
    ]
    assert graph["app-key"].inputs["grants"] == [{"bucket": "shop-media-1a2b3c4", "permission": "readwrite"}]


def test_given_keys_are_used_instead(settings: dict[str, Any]) -> None:
    """For accounts that can't create scoped ones; they stay secret."""
    keys = {
        "agent": {"accessKey": "AGENT-ID", "secretKey": "agent-key-secret"},
        "app": {"accessKey": "APP-ID", "secretKey": "app-key-secret"},
    }
    graph = run_program(settings | {"storage": {"keys": keys}})
    assert graph.of_type(":SpacesKey") == []
    droplet, environment = graph["web-1"], graph["environment"]
    assert "agent-key-secret" in droplet.inputs["userData"]
    assert "userData" in droplet.secrets
    assert "app-key-secret" in environment.inputs["document"]
    assert "document" in environment.secrets
