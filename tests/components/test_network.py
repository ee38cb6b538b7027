"""Network: the VPC and the tags."""

from tests.components.recording import Graph


def test_deleting_a_vpc_waits_for_its_members(graph: Graph) -> None:
    """DigitalOcean lets them linger for minutes."""
    vpc = graph["vpc"]
    assert (vpc.inputs["region"], vpc.inputs["ipRange"]) == ("nyc3", "10.20.0.0/20")
    assert vpc.options.customTimeouts.delete == "15m"
    assert "name" not in vpc.inputs


def test_tags_are_named_after_the_stack(graph: Graph) -> None:
    """Firewall and trusted sources go by these names."""
    assert graph["tag"].inputs["name"] == "shop"
    assert graph["web-tag"].inputs["name"] == "shop-web"


def test_the_web_tag_outlives_the_cluster(graph: Graph) -> None:
    """The cluster's only trusted source is this tag; without it nobody knows what its rules mean."""
    assert graph.waits_for("db", "web-tag")
