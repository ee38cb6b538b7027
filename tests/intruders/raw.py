"""Requests as no client library would send them, and what of them reaches an app."""

import contextlib
from collections.abc import Iterator

from sandbox.machines.machine import Machine

# Handshakes and requests as no client library would send them.
RAW = """
def connection(name=None, port=443):
    plain = socket.create_connection((given["address"], port), timeout=20)
    if port != 443:
        return plain
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=name)

def ask(head, name=given["host"], port=443):
    "Status line and the rest of the answer to a request, sent byte by byte as it is."
    with connection(name, port) as link:
        link.sendall(head.encode())
        answer = b""
        while piece := link.recv(65536):
            answer += piece
    return answer.decode(errors="replace")

def status(head, **options):
    return ask(head + "Connection: close\\r\\n\\r\\n", **options).partition("\\r\\n")[0].split(" ")[1]
"""

# Answers every request with what it got.
RECORDER = """
import http.server, json, socketserver

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps([self.requestline, self.headers.items()]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def address_string(self):
        return "nginx"

server = socketserver.ThreadingUnixStreamServer("/run/gunicorn.sock", Handler)
__import__("os").chmod("/run/gunicorn.sock", 0o666)
server.serve_forever()
"""

# Header -> what an intruder claims. Gunicorn and Django would believe these, or are asked to by many a setting.
CLAIMS = {
    "X-Forwarded-For": "192.0.2.1",
    "X-Real-IP": "192.0.2.1",
    "X-Request-Id": "forged",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "8443",
    "X-Forwarded-Protocol": "ssl",
    "X-Forwarded-Ssl": "on",
    "Forwarded": "for=192.0.2.1;host=evil.example;proto=http",
    "Proxy": "http://evil.example",
    # Gunicorn takes these for variables of WSGI when they come from a proxy that it trusts.
    "SCRIPT_NAME": "/evil",
    "PATH_INFO": "/evil",
    "X_Forwarded_Proto": "http",
    "X_FORWARDED_FOR": "192.0.2.1",
    # The control: a header that nobody believes comes through.
    "X-Control": "there",
}


@contextlib.contextmanager
def recording(web: Machine) -> Iterator[None]:
    """Put something into Gunicorn's place that answers with the request that it got from Nginx."""
    web.run(["systemctl", "stop", "gunicorn.socket", "gunicorn.service"])
    web.run(["rm", "-f", "/run/gunicorn.sock"])
    web.run(["systemd-run", "--unit=recorder", "python3", "-c", RECORDER])
    try:
        yield
    finally:
        web.run(["systemctl", "stop", "recorder.service"])
        web.run(["rm", "-f", "/run/gunicorn.sock"])
        web.run(["systemctl", "start", "gunicorn.socket", "gunicorn.service"])
