"""DigitalOcean's API, with the token and at the place of DigitalOcean's provider: asked, and told, of an account."""

import json
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from provider.actions import ActionError
from provider.trust import authorities

ENDPOINT = "https://api.digitalocean.com"
# DigitalOcean's provider takes the first of these that it finds.
TOKENS = ("DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN")
PER_PAGE = 200  # the most that the API gives at once

Body = Mapping[str, Any]
Ask = Callable[[str], Body | None]  # a path below /v2 -> the body of the answer, None where there is nothing


class UnreadableError(ActionError):
    """The API gives no answer, or not to this token; the text never has the token."""


class _NoRedirect(HTTPRedirectHandler):
    """The token is for nobody else."""

    def redirect_request(self, *_request: object, **_named: object) -> None:
        """Let the redirect be the answer."""


class Api:
    """One account. Its proxies are the environment's (HTTPS_PROXY, NO_PROXY); threads may share it.

    By Python's own client: previews have it imported anyway, and another takes 0.1 s.
    """

    def __init__(self, token: str, endpoint: str, seconds: float) -> None:
        """Ask with this token, and wait so long for each answer; raises UnreadableError when that can't be."""
        self._endpoint = endpoint.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "User-Agent": "django-do"}
        self._seconds = seconds
        if not self._endpoint.startswith(("https://", "http://")):
            raise UnreadableError(f"{endpoint} can't be asked: it has to begin with https://")
        try:
            trust = ssl.create_default_context(cafile=authorities(), capath=os.environ.get("SSL_CERT_DIR"))
        except OSError as error:  # SSL_CERT_FILE names no file, or no certificates
            raise UnreadableError(f"{endpoint} can't be asked: {error}") from None
        self._opener = build_opener(HTTPSHandler(context=trust), _NoRedirect)

    def get(self, path: str) -> Body | None:
        """Return the body of the answer, None where there is nothing; raises UnreadableError."""
        answer = self._send("GET", path)
        return None if answer is None else self._read(path, answer)

    def delete(self, path: str) -> None:
        """Delete what may be gone already; raises UnreadableError."""
        self._send("DELETE", path)

    def post(self, path: str, body: Body) -> Body:
        """Make something; return the body of the answer; raises UnreadableError."""
        answer = self._send("POST", path, body)
        return self._read(path, answer) if answer else {}

    def put(self, path: str, body: Body) -> None:
        """Change something; raises UnreadableError."""
        self._send("PUT", path, body)

    def _read(self, path: str, answer: bytes) -> Body:
        try:
            body: Body = json.loads(answer)
        except ValueError:
            raise UnreadableError(f"{_shown(path)} is not answered with JSON") from None
        return body

    def _send(self, method: str, path: str, body: Body | None = None) -> bytes | None:
        headers, data = self._headers, None
        if body is not None:
            headers, data = headers | {"Content-Type": "application/json"}, json.dumps(body).encode()
        try:
            request = Request(f"{self._endpoint}/v2/{path}", data, headers, method=method)  # noqa: S310 see above
            with self._opener.open(request, timeout=self._seconds) as response:
                answer: bytes = response.read()
        except HTTPError as error:
            with error:
                if error.code == HTTPStatus.NOT_FOUND and body is None:
                    return None
                raise UnreadableError(f"{_shown(path)} is answered with {error.code}{_message(error)}") from None
        except (OSError, HTTPException) as error:
            why = error.reason if isinstance(error, URLError) else error
            raise UnreadableError(f"{self._endpoint} gives no answer: {why}") from None
        except ValueError:  # its text has the token
            raise UnreadableError(
                f"{self._endpoint} can't be asked: its token has characters that no token has"
            ) from None
        return answer


def every(ask: Ask, path: str, key: str) -> Iterator[Body]:
    """Give every item of a list, page by page; none where there is no such list."""
    page = 1
    while True:
        items = (ask(f"{path}?per_page={PER_PAGE}&page={page}") or {}).get(key, [])
        yield from items
        if len(items) < PER_PAGE:
            return
        page += 1


def token(environment: Mapping[str, str]) -> str | None:
    """Return the token that DigitalOcean's provider takes from an environment."""
    return next(filter(None, map(environment.get, TOKENS)), None)


def endpoint(environment: Mapping[str, str]) -> str:
    """Return where DigitalOcean's provider finds the API."""
    return environment.get("DIGITALOCEAN_API_URL") or ENDPOINT


def _message(error: HTTPError) -> str:
    """Return what the API says of a refusal; nothing when it isn't the API that answers."""
    try:
        document = json.loads(error.read())
    except (ValueError, OSError, HTTPException):
        return ""
    message = document.get("message") if isinstance(document, dict) else None
    return f": {message}" if isinstance(message, str) else ""


def _shown(path: str) -> str:
    return f"/v2/{path.partition('?')[0]}"
