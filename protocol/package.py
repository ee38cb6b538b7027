"""The agent's package: one object of the Space `releases` for each content."""


def package_key(sha256: str) -> str:
    """Return the key of a package's object."""
    return f"agents/{sha256}.tar"
