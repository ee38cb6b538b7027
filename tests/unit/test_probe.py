import random
from pathlib import Path
from typing import Any

import pytest

from plugin_base.wire import UNKNOWN
from protocol.health import mark
from protocol.release import GOOD
from provider.actions import ActionError
from provider.traffic import probe
from provider.traffic.probe import ProbeProvider
from tests.certificates import Authority
from tests.unit.conftest import Buckets
from tests.unit.site_server import ADDRESS, NAME, Site

RELEASE = {
    "release": "r2",
    "artifact": "artifacts/2.tar",
    "sha256": "2",
    "environment": "environments/2.json",
}


def props(buckets: Buckets, **changes: object) -> dict[str, Any]:
    """Return the inputs of a probe."""
    return {
        "url": f"https://{NAME}",
        "address": ADDRESS,
        "dns": "managed",
        "edge": "direct",
        **RELEASE,
        "releases_bucket": buckets.releases,
        "region": buckets.region,
        "droplet_ids": ["101"],
        "deadline": 60,
        **changes,
    }


def good(buckets: Buckets) -> object:
    """Read good.json."""
    return buckets.client.get_json(buckets.releases, GOOD)


def test_a_release_that_serves_is_good(site: Site, buckets: Buckets) -> None:
    """Over verified TLS, with the redirect from port 80; good.json has the schema of docs/releases.md."""
    created = ProbeProvider().create(props(buckets))
    assert good(buckets) == RELEASE
    assert created.outs == props(buckets) | {"pending": ""}
    assert site.waits == 0


def test_the_address_may_take_its_time(site: Site, buckets: Buckets) -> None:
    """The name, the new Droplet, the certificate's redirect come one after the other."""
    site.resolved, site.release, site.location = False, "r1", None
    site.changes = [{"resolved": True}, {"release": "r2"}, {"location": f"https://{NAME}/"}]
    ProbeProvider().create(props(buckets))
    assert site.waits == 3
    assert good(buckets) == RELEASE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"release": "r1"}, r"https://polls.example/healthz serves release 'r1'; `pulumi refresh`"),
        ({"health_status": 502}, r"/healthz answered 502 .*; /healthz is answered by Gunicorn on the Droplet"),
        ({"location": None}, r"port 80 answered 200  instead of a redirect to https://polls.example/"),
        ({"location": "https://evil.example/"}, r"port 80 answered 301 https://evil.example/ instead"),
        ({"resolved": False}, r"Name or service not known; the name has no address: the domain's registrar"),
    ],
)
def test_what_does_not_serve_is_not_good(site: Site, buckets: Buckets, change: dict[str, Any], message: str) -> None:
    """Path, rule, what was seen last, and where to look; good.json is not written."""
    vars(site).update(change)
    with pytest.raises(ActionError, match=r"https://polls\.example: must serve release r2 within 0 s, ") as caught:
        ProbeProvider().create(props(buckets, deadline=0))
    assert caught.match(message)
    assert good(buckets) is None


@pytest.mark.usefixtures("site")
def test_a_certificate_that_is_not_trusted_is_not_good(
    buckets: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the first test: there the CA made the difference."""
    (tmp_path / "other.pem").write_text(Authority("another CA").pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))
    with pytest.raises(ActionError, match=r"CERTIFICATE_VERIFY_FAILED.*journalctl -u certificate"):
        ProbeProvider().create(props(buckets, deadline=0))
    assert good(buckets) is None


@pytest.mark.parametrize("change", [{"resolved": False}, {"address": "198.51.100.99", "release": "r2"}])
def test_with_external_dns_a_missing_record_ends_well_and_is_named(
    site: Site, buckets: Buckets, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """No record yet, or the one of the site that is being replaced: the release answered at its own address."""
    vars(site).update(change)
    if site.resolved:
        # What the old site serves does not concern us.
        monkeypatch.setattr(probe, "ask", lambda *_: probe.Answer("another site"))
    created = ProbeProvider().create(props(buckets, dns="external"))
    assert created.outs is not None
    assert created.outs["pending"] == "create the DNS record `polls.example. A 203.0.113.7`, then run `pulumi up` again"
    assert good(buckets) == RELEASE


def test_with_external_dns_the_release_still_has_to_answer_at_its_address(site: Site, buckets: Buckets) -> None:
    """A missing record is not an excuse."""
    site.resolved, site.release = False, "r1"
    with pytest.raises(ActionError, match=r"http://203\.0\.113\.7/healthz serves release 'r1'"):
        ProbeProvider().create(props(buckets, dns="external", deadline=0))
    assert good(buckets) is None


@pytest.mark.parametrize("change", [{"resolved": False}, {"address": "198.51.100.99"}])
def test_behind_a_load_balancer_the_address_is_asked_by_tls(
    site: Site, buckets: Buckets, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """It redirects all of port 80, and has the certificate before the name leads there; each Droplet has to answer."""
    vars(site).update(change)
    if site.resolved:
        monkeypatch.setattr(probe, "ask", lambda *_: probe.Answer("another site"))
    site.redirects_all, site.droplets = True, ("101", "102")
    balanced = props(buckets, dns="external", edge="balanced", droplet_ids=["101", "102"])
    created = ProbeProvider().create(balanced)
    assert created.outs == balanced | {
        "pending": "create the DNS record `polls.example. A 203.0.113.7`, then run `pulumi up` again"
    }
    assert (good(buckets), site.waits) == (RELEASE, 0)
    with pytest.raises(ActionError, match="Droplet 103 has not answered there; see the health of the load balancer's"):
        ProbeProvider().update("id", {}, balanced | {"droplet_ids": ["101", "103"], "deadline": 0})


def test_with_external_dns_and_a_record_the_name_is_asked(site: Site, buckets: Buckets) -> None:
    """Then nothing is pending, and what is wrong with the name is an error."""
    created = ProbeProvider().create(props(buckets, dns="external"))
    assert created.outs is not None
    assert created.outs["pending"] == ""
    site.location = None
    with pytest.raises(ActionError, match="port 80 answered 200"):
        ProbeProvider().update("id", {}, props(buckets, dns="external", deadline=0))


def test_each_droplet_has_to_answer_there(site: Site, buckets: Buckets) -> None:
    """Behind a load balancer they answer by turns; one that has not joined yet is waited for."""
    site.droplets, site.changes = ("101", "102"), [{}, {"droplets": ("101", "102", "103")}]
    ProbeProvider().create(props(buckets, droplet_ids=["101", "102", "103"]))
    assert (good(buckets), site.waits) == (RELEASE, 2)


def test_a_droplet_that_never_answers_is_named(site: Site, buckets: Buckets) -> None:
    """The load balancer does not say which ones it sends visitors to."""
    site.droplets = ("101",)
    with pytest.raises(ActionError, match="Droplet 102 has not answered there; see the health of the load balancer's"):
        ProbeProvider().create(props(buckets, droplet_ids=["101", "102"], deadline=0.05))


@pytest.mark.parametrize("seed", range(5))
def test_each_of_many_is_heard_though_visitors_take_turns(
    site: Site, buckets: Buckets, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Who answers is as good as drawn then, and hardly a round hears all: who was heard is not asked for again."""
    drawn, droplets = random.Random(seed), [str(number) for number in range(200)]  # noqa: S311 - of Droplets
    asked: list[str] = []

    def answer(*_: object) -> probe.Answer:
        asked.append(drawn.choice(droplets))
        return probe.Answer(served_by=mark(asked[-1]))

    monkeypatch.setattr(probe, "ask", answer)
    ProbeProvider().create(props(buckets, droplet_ids=droplets))
    assert good(buckets) == RELEASE
    assert set(asked) == {*droplets}
    assert len(asked) < 200 * 12, "some 1180 are expected; with so many one is missed in a case of a thousand"
    assert site.waits * probe.POLL_SECONDS < 75, "seconds, of 300"


@pytest.mark.usefixtures("site")
def test_of_many_that_do_not_answer_some_are_named(buckets: Buckets) -> None:
    """Fifty ids hide the words behind them."""
    droplets = [str(number) for number in range(101, 151)]
    with pytest.raises(ActionError, match="Droplet 102, 103, 104, 105, 106 and 44 more has not answered there"):
        ProbeProvider().create(props(buckets, droplet_ids=droplets, deadline=0))


def test_who_is_about_to_go_may_have_the_release_of_before(site: Site, buckets: Buckets) -> None:
    """All Droplets are replaced, with a new release: the old ones stand behind the balancer to the update's end."""
    site.droplets, site.leaving = ("103", "104"), ("101", "102")
    ProbeProvider().create(props(buckets, droplet_ids=["103", "104"]))
    assert (good(buckets), site.waits) == (RELEASE, 0)
    site.droplets = ()
    with pytest.raises(ActionError, match="serves release 'r1'"):
        ProbeProvider().create(props(buckets, droplet_ids=["103", "104"], deadline=0))


def test_the_proxy_of_the_environment_is_used(site: Site, buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only a proxy knows the name; here it is one that refuses."""
    site.resolved = False
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{site.http_port}")
    with pytest.raises(ActionError, match=r"501.*see what HTTPS_PROXY on this machine leads to"):
        ProbeProvider().create(props(buckets, deadline=0))


def test_nothing_differs_the_second_time(site: Site, buckets: Buckets) -> None:
    """A record that is still missing is not a reason to ask again."""
    olds = props(buckets) | {"pending": ""}
    assert ProbeProvider().diff("id", olds, props(buckets, deadline=900)).changes is False
    site.resolved = False
    waiting = props(buckets, dns="external") | {"pending": "create the DNS record"}
    assert ProbeProvider().diff("id", waiting, props(buckets, dns="external")).changes is False


@pytest.mark.usefixtures("site")
def test_a_record_that_has_arrived_is_a_reason_to_ask_again(buckets: Buckets) -> None:
    """The next update proves the name, too."""
    waiting = props(buckets, dns="external") | {"pending": "create the DNS record"}
    assert ProbeProvider().diff("id", waiting, props(buckets, dns="external")).changes is True


@pytest.mark.parametrize(
    ("change", "replaces"),
    [
        ({"release": "r3"}, []),
        ({"release": UNKNOWN}, []),
        ({"url": "https://other.example"}, []),
        ({"address": "203.0.113.8"}, []),
        ({"droplet_ids": ["102"]}, []),
        ({"droplet_ids": UNKNOWN}, []),
        ({"releases_bucket": "other"}, ["releases_bucket"]),
    ],
)
def test_another_release_place_or_droplet_is_asked(
    buckets: Buckets, change: dict[str, Any], replaces: list[str]
) -> None:
    """In place; another bucket has another good.json."""
    diff = ProbeProvider().diff("id", props(buckets) | {"pending": ""}, props(buckets, **change))
    assert (diff.changes, diff.replaces) == (True, replaces)


def test_check_reports_what_cannot_be_asked(buckets: Buckets) -> None:
    """All problems at once."""
    news = props(buckets, url="http://polls.example/x", dns="none", edge="round", address="")
    assert ProbeProvider().check({}, news).failures == [
        "probe.address: must be a non-empty text, got an empty one",
        "probe.url: must be https:// and a name, got 'http://polls.example/x'",
        "probe.dns: must be managed or external, got 'none'; see `dns`",
        "probe.edge: must be direct or balanced, got 'round'",
    ]


def test_check_accepts_what_is_not_known_yet(buckets: Buckets) -> None:
    """During the first preview only url, dns and edge are known."""
    known = {"url": f"https://{NAME}", "dns": "managed", "edge": "direct", "deadline": 60}
    news = dict.fromkeys(props(buckets), UNKNOWN) | known
    assert ProbeProvider().check({}, news).failures == []
