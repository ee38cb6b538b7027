"""Clients of DigitalOcean's API (requests) and of Spaces (boto3), made when they are first needed."""

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from digitalocean_provider.errors import ApiError, ProviderError, Unreachable

if TYPE_CHECKING:
    import requests
    from mypy_boto3_s3 import S3Client

SIGNING_REGION = "us-east-1"  # the official plugin's, whatever the bucket's region: aws-sdk-go in config.go
CONNECT_TIMEOUT = 10  # seconds
READ_TIMEOUT = 120  # seconds
RETRIED_STATUSES = frozenset({429}) | frozenset(range(500, 600)) - {501}  # go-retryablehttp's DefaultRetryPolicy


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The provider's configuration: its own settings first, then the official plugin's environment variables."""

    token: str
    api_endpoint: str
    spaces_endpoint: str  # with {region}
    spaces_access_id: str
    spaces_secret_key: str
    retries: int
    retry_wait_min: float  # seconds
    retry_wait_max: float  # seconds


def settings_from(arguments: dict[str, Any]) -> Settings:
    """Read the settings; `arguments` are the provider's configuration, numbers as strings or not."""

    def value(name: str, *variables: str, default: str) -> str:
        if arguments.get(name) not in (None, ""):
            return str(arguments[name])
        return next((os.environ[variable] for variable in variables if os.environ.get(variable)), default)

    return Settings(
        token=value("token", "DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN", default=""),
        api_endpoint=value("apiEndpoint", "DIGITALOCEAN_API_URL", default="https://api.digitalocean.com"),
        spaces_endpoint=value(
            "spacesEndpoint", "SPACES_ENDPOINT_URL", default="https://{{.Region}}.digitaloceanspaces.com"
        ).replace("{{.Region}}", "{region}"),
        spaces_access_id=value("spacesAccessId", "SPACES_ACCESS_KEY_ID", default=""),
        spaces_secret_key=value("spacesSecretKey", "SPACES_SECRET_ACCESS_KEY", default=""),
        retries=int(float(value("httpRetryMax", "DIGITALOCEAN_HTTP_RETRY_MAX", default="4"))),
        retry_wait_min=float(value("httpRetryWaitMin", "DIGITALOCEAN_HTTP_RETRY_WAIT_MIN", default="1")),
        retry_wait_max=float(value("httpRetryWaitMax", "DIGITALOCEAN_HTTP_RETRY_WAIT_MAX", default="30")),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """One answer of the API."""

    method: str
    url: str
    status: int
    body: Any
    retry_after: float | None  # seconds


class Clients:
    """Both clients, each shared by all threads."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is imported or connected before the first call, or `warm`."""
        self.settings = settings
        self._lock = threading.Lock()
        self._session: requests.Session | None = None
        self._s3: dict[str, S3Client] = {}

    def warm(self) -> None:
        """Import the API's client in the background, once, so that the first call finds it there."""
        if self._session is None and not self._lock.locked():
            threading.Thread(target=self._api, name="warm", daemon=True).start()

    def _api(self) -> "requests.Session":
        with self._lock:
            if self._session is None:
                import requests  # noqa: PLC0415 -- 0.1 s, while the engine does something else

                self._session = requests.Session()
                self._session.headers["Authorization"] = f"Bearer {self.settings.token}"
            return self._session

    def send(
        self, method: str, *path: str | int, query: dict[str, Any] | None = None, body: dict[str, Any] | None = None
    ) -> Reply:
        """Send one request and return whatever the API answered; `path` is what comes after /v2, part by part."""
        session = self._api()
        from requests import RequestException  # noqa: PLC0415 -- as above

        url = "/".join([self.settings.api_endpoint.rstrip("/"), "v2", *(quote(str(part), safe="") for part in path)])
        try:
            response = session.request(method, url, params=query, json=body, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT))
        except RequestException as error:
            raise Unreachable(f"{method} {url}: {error}") from error
        wait = response.headers.get("Retry-After", "")
        return Reply(
            method=method,
            url=response.url,
            status=response.status_code,
            body=_json(response),
            retry_after=float(wait) if wait.isdigit() else None,
        )

    def s3(self, region: str) -> "S3Client":
        """Return the client for the Spaces of a region."""
        if not (self.settings.spaces_access_id and self.settings.spaces_secret_key):
            raise ProviderError(
                "Spaces credentials not configured: set digitalocean:spacesAccessId and digitalocean:spacesSecretKey, "
                "or SPACES_ACCESS_KEY_ID and SPACES_SECRET_ACCESS_KEY"
            )
        with self._lock:
            if region not in self._s3:
                import boto3  # noqa: PLC0415 -- 0.3 s that previews need not pay
                from botocore.config import Config  # noqa: PLC0415 -- the same

                self._s3[region] = boto3.client(
                    "s3",
                    region_name=SIGNING_REGION,
                    endpoint_url=self.settings.spaces_endpoint.format(region=region.lower()),
                    aws_access_key_id=self.settings.spaces_access_id,
                    aws_secret_access_key=self.settings.spaces_secret_key,
                    config=Config(
                        signature_version="s3v4",
                        s3={"addressing_style": "virtual"},
                        request_checksum_calculation="when_required",
                        response_checksum_validation="when_required",
                        retries={"total_max_attempts": self.settings.retries + 1, "mode": "standard"},
                        connect_timeout=CONNECT_TIMEOUT,
                        read_timeout=READ_TIMEOUT,
                    ),
                )
            return self._s3[region]


def _json(response: "requests.Response") -> Any:  # noqa: ANN401 -- JSON of any shape
    if not response.content:
        return None
    try:
        return response.json()
    except ValueError:
        return {"message": response.text[:500]}


def result(reply: Reply) -> Any:  # noqa: ANN401 -- JSON of any shape
    """Return the document of a successful answer, else raise ApiError."""
    bad_request = 400
    if reply.status < bad_request:
        return reply.body
    body = reply.body if isinstance(reply.body, dict) else {}
    raise ApiError(reply.method, reply.url, reply.status, body.get("message", ""), body.get("request_id", ""))
