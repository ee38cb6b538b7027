"""How long the look of a visitor waits, for what, and that the watchdog hears meanwhile."""

import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pycurl
import pytest

from agent import health
from agent.health import PATIENCE, SECONDS, Answer, Page, Problem, asking, look
from tests.commands import ROOT
from tests.unit.test_health import DOMAIN, PAGE, Site, to


def test_a_page_has_as_long_as_visitors_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cold one may be slow; later than that, also by its redirects, it is refused with its path and what to do."""
    nginx = (ROOT / "cloud-init/nginx/nginx.conf").read_text()
    assert f"proxy_read_timeout {PATIENCE}s;" in nginx

    class Hangs(Site):
        def __call__(self, path: str, cookies: Mapping[str, str]) -> Answer:
            raise pycurl.error(28, f"Operation timed out after 60001 milliseconds, {path} {cookies}")

    said = "must be answered within 60 s, redirects included, is not, and visitors get 504 then; let it do less, or "
    said += "name another page by app.health.path"
    assert look(Hangs({}), DOMAIN, PAGE) == Problem(text=f"/: {said}")
    ticks = iter([0.0, PATIENCE, PATIENCE + 1])
    monkeypatch.setattr(time, "monotonic", lambda: next(ticks))
    site = Site({f"/{number}": to(f"/{number + 1}") for number in range(5)})
    late = look(site, DOMAIN, Page(path="/0", statuses=("200",), elsewhere=False))
    assert late == Problem(text=f"/0 -> /1 -> /2: {said}")
    assert [path for path, _ in site.asked] == ["/0", "/1"]


def test_the_watchdog_hears_while_a_page_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends an agent that has not moved for a minute, which is what a page may take."""
    heard: list[float] = []
    monkeypatch.setattr(health, "alive", lambda: heard.append(time.monotonic()))
    with socket.socket(socket.AF_UNIX) as slow:
        slow.bind(str(tmp_path / "nginx"))
        slow.listen()
        with pytest.raises(pycurl.error) as ended:
            asking(DOMAIN, str(tmp_path / "nginx"), 2.5)("/", {})
    assert ended.value.args[0] == pycurl.E_OPERATION_TIMEDOUT
    assert heard[-1] - heard[0] > 1


@pytest.mark.parametrize(
    ("answers", "asked", "said"),
    [
        ({"/healthz": 404}, ["/healthz"], '/healthz: must name release 0a-1b, answered 404 {"release": "0a-1b"}'),
        ({"/readyz": 503}, ["/healthz", "/readyz"], '/readyz: answered 503 {"release": "0a-1b"}'),
        ({"/readyz": 0}, ["/healthz", "/readyz"], "/readyz: no answer: it hung up"),
        ({"/": 500}, ["/healthz", "/readyz", "/"], "/: answered 500, an error of the app"),
        ({}, ["/healthz", "/readyz", "/"], None),
    ],
)
def test_a_release_answers_for_itself_then_for_the_app(
    monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, int], asked: list[str], said: str | None
) -> None:
    """Its name through Nginx, its database past it, the page through Nginx, and each with its own limit."""
    seen: list[tuple[str, str, float]] = []

    def asking(_domain: str, place: str, seconds: float = SECONDS) -> Callable[[str, Mapping[str, str]], Answer]:
        def ask(path: str, _cookies: Mapping[str, str]) -> Answer:
            seen.append((path, place, seconds))
            if (status := answers.get(path, 200)) == 0:
                raise pycurl.error(52, "it hung up")
            return Answer(status=status, body='{"release": "0a-1b"}')

        return ask

    monkeypatch.setattr(health, "asking", asking)
    problem = health.health(DOMAIN, "0a-1b", PAGE, "candidate")
    assert (problem and problem.text) == said
    nginx, gunicorn = "/run/look/candidate.sock", "/run/gunicorn-candidate.sock"
    all_three = [("/healthz", nginx, 10), ("/readyz", gunicorn, 10), ("/", nginx, 60)]
    assert seen == all_three[: len(asked)]
