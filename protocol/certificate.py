"""The site's kept certificate: certificates/<domain>.json in the Space `state`."""

from dataclasses import asdict, dataclass
from typing import Self

from protocol.document import DocumentError, json_object


def certificate_key(domain: str) -> str:
    """Return the key of a domain's certificate."""
    return f"certificates/{domain}.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """A certificate with its chain, and its key, in PEM; the key has no password."""

    fullchain: str
    privkey: str

    @classmethod
    def parse(cls, body: bytes, source: str) -> Self:
        """Read one; raises DocumentError. Whether it would serve is for whoever takes it to try."""
        document = json_object(body, source)
        if set(document) != {"fullchain", "privkey"} or not all(isinstance(value, str) for value in document.values()):
            raise DocumentError(f"{source}: must be an object of the texts fullchain and privkey")
        return cls(**document)

    def document(self) -> dict[str, str]:
        """Return it as JSON."""
        return asdict(self)
