"""An SSH key whose private half is thrown away: a Droplet without any key would get a root password by mail."""

import base64
import hashlib
from typing import Any

from provider.actions import CreateResult, DiffResult, ResourceProvider


class DiscardedKeyProvider(ResourceProvider):
    """Make the key once; nothing changes it."""

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Find no difference: there is no input."""
        return DiffResult(changes=False)

    def create(self, _props: dict[str, Any]) -> CreateResult:
        """Make a key pair and return the public half; the private one ends with this call."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        public_key = (
            Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        )
        return CreateResult(fingerprint(public_key), {"public_key": public_key})


def fingerprint(public_key: str) -> str:
    """Return the fingerprint that `ssh-keygen -l` shows for a public key in OpenSSH's format."""
    digest = hashlib.sha256(base64.b64decode(public_key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
