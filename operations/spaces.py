"""Spaces, for the commands that look into them by themselves."""

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def client(at: str, access_key: str | None = None, secret_key: str | None = None) -> "S3Client":
    """Return a client of Spaces; without a key it is the one that Pulumi's backend uses, from AWS_ACCESS_KEY_ID."""
    made: S3Client = boto3.client(
        "s3",
        endpoint_url=at,
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            s3={"addressing_style": "virtual"},
            # Other checksums than Amazon's own servers understand.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    return made
