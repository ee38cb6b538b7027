"""Somebody with a browser: Debian's Chromium, headless, entering the world through its proxy."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request, Response


@dataclass
class Visitor:
    """Somebody with a browser window, and all that went wrong in it."""

    page: Page
    problems: list[str] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        self.page.on("request", self._request)
        self.page.on("requestfailed", lambda request: self.problems.append(f"failed: {request.url}: {request.failure}"))
        self.page.on("response", self._response)

    def open(self, url: str) -> Page:
        """Go to an address and wait until nothing is loading any more."""
        self.page.goto(url, wait_until="networkidle")
        return self.page

    def press(self, button: str) -> Page:
        """Press a button that leads to another page, and wait until nothing is loading any more."""
        with self.page.expect_navigation(wait_until="networkidle"):
            self.page.get_by_role("button", name=button, exact=True).click()
        return self.page

    def follow(self, link: str) -> Page:
        """Follow a link to another page, and wait until nothing is loading any more."""
        with self.page.expect_navigation(wait_until="networkidle"):
            self.page.get_by_role("link", name=link, exact=True).click()
        return self.page

    def _console(self, message: ConsoleMessage) -> None:
        # Warnings too: Chromium warns of a font that is preloaded and then, for want of CORS, loaded again.
        if message.type in {"error", "warning"}:
            self.problems.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if urlsplit(request.url).scheme not in {"https", "data"}:
            self.problems.append(f"not by https: {request.url}")

    def _response(self, response: Response) -> None:
        self.responses.append(response)
        if not response.ok and response.status not in range(300, 400):
            self.problems.append(f"status {response.status}: {response.url}")


@contextmanager
def chromium(playwright: Playwright, *, home: Path, proxy_port: int) -> Iterator[Browser]:
    """Start Debian's Chromium with a home directory of its own."""
    executable = shutil.which("chromium")
    assert executable, "chromium: must be on PATH, got nothing; apt install chromium"
    environment: dict[str, str | float | bool] = {"HOME": str(home)}
    # A folder named by XDG_DATA_HOME would come before the home directory's certificates.
    environment |= {name: value for name, value in os.environ.items() if name != "HOME" and not name.startswith("XDG_")}
    browser = playwright.chromium.launch(
        executable_path=executable,
        args=["--no-sandbox"],  # Chromium's own sandbox refuses to start as root
        proxy={"server": f"http://127.0.0.1:{proxy_port}"},
        env=environment,
    )
    try:
        yield browser
    finally:
        browser.close()
