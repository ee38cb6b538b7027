"""Whether a release serves."""

import io

import pycurl

GUNICORN = "/run/gunicorn.sock"
NGINX_PORT = 80
SECONDS = 10


def health(domain: str, release: str) -> str | None:
    """Return why the release does not serve, None when it does.

    /healthz through Nginx must name it, /readyz reach the database, and the first page must not be an error of the
    app's own: whatever else it says (a login, a redirect, not found) is its affair.
    """
    as_visitor = [f"Host: {domain}", "X-Forwarded-Proto: https"]
    for path, socket, headers in (("/healthz", "", []), ("/readyz", GUNICORN, []), ("/", GUNICORN, as_visitor)):
        try:
            status, body = get(path, socket, headers)
        except pycurl.error as error:
            return f"{path}: {[*error.args][-1]}"
        if status >= 500 or (path != "/" and status != 200):  # noqa: PLR2004
            return f"{path}: answered {status} {body[:500]}"
        if path == "/healthz" and f'"{release}"' not in body:
            return f"{path}: must name release {release}, got {body[:200]}"
    return None


def get(path: str, socket: str, headers: list[str]) -> tuple[int, str]:
    """Ask Nginx, or Gunicorn itself by its socket; raises pycurl.error without an answer."""
    received = io.BytesIO()
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, f"http://127.0.0.1:{NGINX_PORT}{path}")
    curl.setopt(pycurl.NOPROXY, "*")
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.TIMEOUT, SECONDS)
    curl.setopt(pycurl.HTTPHEADER, headers)
    curl.setopt(pycurl.WRITEDATA, received)
    if socket:
        curl.setopt(pycurl.UNIX_SOCKET_PATH, socket)
    curl.perform()
    status = curl.getinfo(pycurl.RESPONSE_CODE)
    curl.close()
    return status, received.getvalue().decode(errors="replace")
