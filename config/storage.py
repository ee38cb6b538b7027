"""The section `storage`."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from config.section import Section
from config.values import Unique, host_name, one_of, wrong

HTTP, HTTPS = "80", "443"
CDN_TTLS = (60, 600, 3600, 86400, 604800)


def _origin(value: str) -> str:
    parts = urlsplit(value)
    host, _, port = parts.netloc.partition(":")
    # As a browser sends it: in lower case, in ASCII, without the port that https has anyway.
    is_sent = value == f"https://{parts.netloc}" and value.isascii() and value == value.lower() and port != HTTPS
    if not is_sent or not host or "*" in value or "@" in value:
        raise wrong(
            "origin", "must be an exact https origin without a path, such as https://example.com", _meant(value)
        )
    return value


def _meant(value: str) -> str:
    """Say which origin somebody may have meant, as the fix; nothing if there is none."""
    host = host_name(value)
    port = re.search(r"(?<!/):(\d+)(?:[/?#]|$)", value)
    if not host:
        return ""
    return f"write https://{host}:{port[1]}" if port and port[1] not in {HTTP, HTTPS} else f"write https://{host}"


Origin = Annotated[str, AfterValidator(_origin)]


class CorsConfig(Section):
    """Which other origins may read static files."""

    origins: Annotated[tuple[Origin, ...], Unique] = Field(
        default=(), description="origins whose pages may read static files; by default the site's own"
    )
    max_age: int = Field(
        default=600, ge=0, le=86400, description="seconds that a browser may remember the answer, 0 to 86400"
    )


class CdnConfig(Section):
    """The CDN in front of static files."""

    ttl: Annotated[int, one_of(*CDN_TTLS)] = Field(
        default=3600, description="seconds that the CDN keeps a file: 60, 600, 3600, 86400 or 604800"
    )


class SpacesKeyConfig(Section):
    """An existing Spaces key."""

    access_key: SecretStr = Field(min_length=1, description="the key's id; set it with --secret")
    secret_key: SecretStr = Field(min_length=1, description="the key's secret; set it with --secret")


class SpacesKeysConfig(Section):
    """Keys made by hand, for accounts or tokens that can't create scoped ones."""

    agent: SpacesKeyConfig = Field(description="may read releases, write assets and state")
    app: SpacesKeyConfig = Field(description="may read and write media")


class StorageConfig(Section):
    """The Spaces."""

    cors: CorsConfig = Field(default_factory=CorsConfig, description="origins and maxAge")
    cdn: CdnConfig = Field(default_factory=CdnConfig, description="ttl")
    force_destroy: bool = Field(
        default=False, description="true lets `pulumi destroy` delete static files and uploaded media; false refuses"
    )
    keys: SpacesKeysConfig | None = Field(default=None, description="agent and app, each with accessKey and secretKey")
