"""Publication: the address moves, and the public URL is checked."""

from tests.components.recording import Graph


def test_the_address_goes_to_the_droplet(graph: Graph) -> None:
    """A number, as the provider wants it; made anew (create-first) when the Droplet changes."""
    assert graph["assignment"].inputs == {"ipAddress": "203.0.113.9", "dropletId": 101}
    assert not graph["assignment"].options.deleteBeforeReplaceDefined


def test_the_probe_asks_the_public_url_for_the_release(graph: Graph) -> None:
    """And records as good what it found there."""
    probe, rollout = graph["probe"].inputs, graph["rollout"].inputs
    assert probe["url"] == "https://shop.example"
    assert {key: probe[key] for key in ("release", "artifact", "sha256", "environment", "releases_bucket")} == {
        key: rollout[key] for key in ("release", "artifact", "sha256", "environment", "releases_bucket")
    }
