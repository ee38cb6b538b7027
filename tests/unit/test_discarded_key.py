import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from provider.discarded_key import DiscardedKeyProvider


def test_the_public_half_is_a_key_in_openssh_format() -> None:
    """DigitalOcean takes this format only."""
    created = DiscardedKeyProvider().create({})
    assert created.outs is not None
    load_ssh_public_key(created.outs["public_key"].encode())
    assert created.outs["public_key"].startswith("ssh-ed25519 ")


def test_only_the_public_half_leaves() -> None:
    """Nothing else can be in the state."""
    created = DiscardedKeyProvider().create({})
    assert created.outs is not None
    assert set(created.outs) == {"public_key"}
    assert "PRIVATE" not in created.outs["public_key"]


def test_the_id_is_the_fingerprint(tmp_path: Path) -> None:
    """It is what `ssh-keygen` shows, so that people find the key again."""
    created = DiscardedKeyProvider().create({})
    assert created.outs is not None
    file = tmp_path / "key.pub"
    file.write_text(created.outs["public_key"])
    shown = subprocess.run(["ssh-keygen", "-lf", str(file)], check=True, capture_output=True, text=True).stdout
    assert created.id in shown


def test_two_keys_differ() -> None:
    """Each stack has its own."""
    assert DiscardedKeyProvider().create({}).id != DiscardedKeyProvider().create({}).id


def test_nothing_differs_the_second_time() -> None:
    """Another key would replace the Droplets."""
    assert DiscardedKeyProvider().diff("id", {"public_key": "x"}, {}).changes is False
