"""Private media in a Space: opened by signed URL, shown in the page only when the type is harmless."""

from pathlib import PurePosixPath
from typing import Any

from botocore.config import Config
from storages.backends.s3 import S3Storage

# What a browser may show in place. Anything else (HTML, SVG, PDF …) could run script or imitate a page.
SHOWN_IN_PLACE = {
    ".avif": "image/avif",
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
}

# Seconds that a signed URL is good for.
SIGNED_FOR = 3600


class PrivateMediaStorage(S3Storage):
    """Objects without public access; names are never reused."""

    def get_default_settings(self) -> dict[str, Any]:
        """Defaults of the library, made private."""
        return super().get_default_settings() | {
            "custom_domain": None,
            "default_acl": None,  # none sent: the bucket is private, and a scoped key may not be allowed to set one
            "file_overwrite": False,
            "querystring_auth": True,
            "querystring_expire": SIGNED_FOR,
            # The bucket's name in the host, as the Content-Security-Policy expects it; bounded waits, since a request
            # is waiting; checksums only where S3 itself demands them (https://github.com/boto/boto3/issues/4398).
            "client_config": Config(
                s3={"addressing_style": "virtual"},
                signature_version="s3v4",
                connect_timeout=5,
                read_timeout=15,
                retries={"mode": "standard", "max_attempts": 2},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        }

    def get_object_parameters(self, name: str) -> dict[str, Any]:
        """Type by the name alone: the library would otherwise believe the type that the uploader claims."""
        content_type = SHOWN_IN_PLACE.get(PurePosixPath(name).suffix.lower())
        if content_type is None:
            return {"ContentType": "application/octet-stream", "ContentDisposition": "attachment"}
        return {"ContentType": content_type, "ContentDisposition": "inline", "CacheControl": "private, max-age=3600"}
