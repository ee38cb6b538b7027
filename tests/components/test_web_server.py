"""WebServer: what a Droplet is made of."""

import yaml

from tests.components.recording import ADMIN_PASSWORD, Graph


def test_a_droplet(graph: Graph) -> None:
    """Auto-named (so replaced create-first), private, tagged, monitored, and with a key: no password is mailed."""
    inputs = dict(graph["web-1"].inputs)
    user_data = inputs.pop("userData")
    assert inputs == {
        "region": "nyc3",
        "size": "s-1vcpu-1gb",
        "image": "debian-13-x64",
        "vpcUuid": "shop-vpc-id",
        "sshKeys": ["shop-ssh-key-fingerprint"],
        "tags": ["shop", "shop-web", "shop-direct"],
        "monitoring": True,
        "backups": False,
    }
    assert user_data.startswith("#cloud-config")
    assert not graph["web-1"].options.deleteBeforeReplaceDefined


def test_user_data_is_a_secret_with_one_secret_in_it(graph: Graph) -> None:
    """The agent's key; no password of the database, no Django secret."""
    droplet = graph["web-1"]
    assert "userData" in droplet.secrets
    user_data = droplet.inputs["userData"]
    assert "shop-agent-key-secret" in user_data
    for other in (ADMIN_PASSWORD, "shop-app-password", "shop-migrator-password", "shop-app-key", "third-party-secret"):
        assert other not in user_data
    assert isinstance(yaml.safe_load(user_data), dict)


def test_the_private_half_of_the_key_is_never_an_output(graph: Graph) -> None:
    """Only the public one is registered with the account."""
    assert graph["ssh-key"].inputs["publicKey"] == "ssh-ed25519 AAAA"
    assert "BEGIN" not in str([r.inputs for r in graph.of_type(":DiscardedKey")])
