"""What can go wrong while a resource is made, changed or removed."""


class ProviderError(Exception):
    """An operation failed; the text is shown to the user as it is."""


class Cancelled(ProviderError):  # noqa: N818 -- not an error of anybody's
    """The user interrupted the operation."""


class ApiError(ProviderError):
    """DigitalOcean refused a request: `POST https://…: 422 (request "…") message`."""

    def __init__(self, method: str, url: str, status: int, message: str, request_id: str = "") -> None:
        request = f' (request "{request_id}")' if request_id else ""
        super().__init__(f"{method} {url}: {status}{request} {message}")
        self.status = status
        self.message = message


class Unreachable(ProviderError):  # noqa: N818 -- a state of the network
    """DigitalOcean could not be reached at all."""


class SpacesError(ProviderError):
    """Spaces refused a request: `PutBucketCors: NoSuchBucket (404) message`."""

    def __init__(self, operation: str, code: str, status: int, message: str) -> None:
        super().__init__(f"{operation}: {code} ({status}) {message}".rstrip())
        self.code = code
        self.status = status
