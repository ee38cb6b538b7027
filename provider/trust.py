"""Whom this machine trusts."""

import os

import certifi


def authorities() -> str:
    """Return the file of the certificate authorities that are trusted, by which httpx goes, too."""
    return os.environ.get("SSL_CERT_FILE") or certifi.where()
