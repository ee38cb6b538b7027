"""Answers to validators by the Space `assets`, while the domain still leads to a load balancer: docs/adr/0025.

The Droplets behind the balancer send whoever asks for such an answer to that Space. So a Droplet to which the site
moves obtains its certificate before the domain leads to it.
"""

import contextlib
import io
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pycurl

from agent.config import Config
from agent.errors import AgentError
from agent.machine import log
from agent.spaces import Spaces

PREFIX = ".well-known/acme-challenge/"
PAUSE = 15  # seconds between two looks at where the domain sends validators
PATIENCE = 10  # seconds for the answer
HEADERS = {"content-type": "text/plain", "x-amz-acl": "public-read", "cache-control": "no-store"}
# RFC 8555: a token, and the key authorization, which begins with it (base64url both).
ANSWER = re.compile(rb"(?P<token>[\w-]{1,200}) (?P<answer>(?P=token)\.[\w-]{1,200})\n", re.ASCII)


class Challenges:
    """The Space's part of an answer. `client` makes a client of the Spaces, one for each thread."""

    def __init__(self, config: Config, client: Callable[[], Spaces]) -> None:
        self._config = config
        self.client = client
        self._looked = float("-inf")
        self._found = False

    def led_here(self) -> bool:
        """Whether who asks the domain for an answer is sent to the Space: tried, from time to time."""
        if time.monotonic() - self._looked >= PAUSE:
            self._looked = time.monotonic()
            self._found = self._try()
        return self._found

    @contextlib.contextmanager
    def published(self, path: Path) -> Iterator[None]:
        """Publish what the hook says by a socket at `path`, as long as the block lasts."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            path.chmod(0o666)  # certbot is another user; the folder is hers alone
            listener.listen()
            thread = threading.Thread(target=self._answer, args=(listener,), name="challenges", daemon=True)
            thread.start()
            try:
                yield
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join(PATIENCE)

    def _try(self) -> bool:
        spaces, name = self.client(), secrets.token_urlsafe(16)
        received, curl = io.BytesIO(), pycurl.Curl()
        curl.setopt(pycurl.URL, f"http://{self._config.domain}/{PREFIX}{name}")
        # As a validator does: redirects are followed, certificates don't matter.
        for option, value in (
            (pycurl.FOLLOWLOCATION, 1),
            (pycurl.MAXREDIRS, 10),
            (pycurl.SSL_VERIFYPEER, 0),
            (pycurl.SSL_VERIFYHOST, 0),
            (pycurl.NOSIGNAL, 1),
            (pycurl.TIMEOUT, PATIENCE),
            (pycurl.WRITEDATA, received),
        ):
            curl.setopt(option, value)
        try:
            spaces.put(self._config.assets_bucket, PREFIX + name, name.encode(), HEADERS)
            curl.perform()
            spaces.remove(self._config.assets_bucket, PREFIX + name)
        except (AgentError, pycurl.error) as error:
            log(f"whether validators are sent to the Space could not be tried: {error}")
            return False
        finally:
            curl.close()
        return received.getvalue() == name.encode()

    def _answer(self, listener: socket.socket) -> None:
        """Publish one answer after the other, until the listener is shut down."""
        published: list[str] = []
        spaces = self.client()
        while True:
            try:
                hook, _ = listener.accept()
            except OSError:  # shut down
                break
            with hook, contextlib.suppress(OSError):  # a hook that has gone is certbot's affair
                hook.settimeout(PATIENCE)
                said = ANSWER.fullmatch(hook.recv(1024))
                if said and self._publish(spaces, said["token"].decode(), said["answer"]):
                    published.append(said["token"].decode())
                    hook.sendall(b"1")
        for token in published:
            with contextlib.suppress(AgentError):  # it is no secret, and of no use any more
                spaces.remove(self._config.assets_bucket, PREFIX + token)

    def _publish(self, spaces: Spaces, token: str, answer: bytes) -> bool:
        try:
            spaces.put(self._config.assets_bucket, PREFIX + token, answer, HEADERS)
        except AgentError as error:
            log(f"the answer to a validator could not be published: {error}")
            return False
        return True
