"""Whether a release serves."""

import subprocess


def health(domain: str, release: str) -> str | None:
    """Return why the release does not serve.

    /healthz through Nginx must name it, /readyz reach the database, and the first page must not be an error of the
    app's own: whatever else it says (a login, a redirect, not found) is its affair.
    """
    socket = ["--unix-socket", "/run/gunicorn.sock"]
    visitor = [*socket, "--header", f"Host: {domain}", "--header", "X-Forwarded-Proto: https"]
    for path, options in (("/healthz", []), ("/readyz", socket), ("/", visitor)):
        command = ["curl", "-sS", "--max-time", "10", "--write-out", "\n%{http_code}", *options]
        command.append(f"http://127.0.0.1{path}")
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        body, _, status = result.stdout.rpartition("\n")
        if result.returncode != 0:
            return f"{path}: {result.stderr.strip()}"
        if status >= "500" or (path != "/" and status != "200"):
            return f"{path}: answered {status} {body[:500]}"
        if path == "/healthz" and f'"{release}"' not in body:
            return f"{path}: must name release {release}, got {body[:200]}"
    return None
