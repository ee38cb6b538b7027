"""What an error's text hides, and what it leaves to read."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.redaction import SHORT, SHORTEST, TRIVIAL, redacted, secrets
from protocol.environment import Environment
from tests.unit.droplet_world import ENVIRONMENT

PEM = "-----BEGIN KEY-----\nc2VjcmV0LXBhcnQ\nYW5vdGhlci1wYXJ0\n-----END KEY-----"
ACCOUNT = json.dumps({"type": "service_account", "project_id": "shop-1", "private_key": PEM})


def shown(text: str, **env: str) -> str:
    """A text as it may be shown, of an app with these variables."""
    return redacted(text, secrets(Environment(env=env)))


@pytest.mark.parametrize(
    "name",
    ["SECRET_KEY", "API_KEY", "APIKEY", "STRIPE_KEY_2", "GITHUB_TOKEN", "stripeSecret", "DB_PASSWORD", "PGPASSWORD",
     "DB_PASS", "SMTP_PASSWD", "SMTP_PWD", "SENTRY_DSN", "GOOGLE_CREDENTIALS", "GPG_PASSPHRASE", "AWS_ACCESS_KEY_ID"],
)  # fmt: skip
def test_a_variable_whose_name_says_so_is_hidden(name: str) -> None:
    """Whoever has set it."""
    assert shown("it was sword-fish, really", **{name: "sword-fish"}) == f"it was [{name}], really"


@pytest.mark.parametrize(
    ("name", "value"),
    [("DB", "postgres"), ("DB_HOST", "db.example"), ("DB_PORT", "25061"), ("DEBUG", "false"), ("KEYBOARD", "qwertz"),
     ("DJANGO_SETTINGS_MODULE", "shop.settings.production"), ("ALLOWED_HOSTS", "shop.example"), ("COMPANY", "Example")],
)  # fmt: skip
def test_what_is_no_secret_can_be_read(name: str, value: str) -> None:
    """A message is of use with hosts, ports and names in it."""
    assert shown(f'connection to "{value}" failed', **{name: value}) == f'connection to "{value}" failed'


def test_a_secret_of_the_settings_is_hidden_whatever_its_name() -> None:
    """`app.secrets` names it; a document that is older than the field hides all."""
    environment = {"HOOK": "https://hooks.example/T0/B1", "PAGE": "https://shop.example/pages"}
    document = ENVIRONMENT | {"env": environment, "release_env": {}}
    text = " ".join(environment.values())
    for named, expected in (({"secrets": ["HOOK"]}, "[HOOK] https://shop.example/pages"), ({}, "[HOOK] [PAGE]")):
        body = json.dumps(document | named).encode()
        parsed = Environment.parse(body, f"environments/{hashlib.sha256(body).hexdigest()}.json")
        assert redacted(text, secrets(parsed)) == expected


@pytest.mark.parametrize(
    ("address", "text", "expected"),
    [
        ("postgresql://app:sword%2Ffish@db.example:1/app", "app sword/fish sword%2Ffish", "app [password] [password]"),
        ("redis://:swordfish@cache.example/0", "at cache.example: swordfish", "at cache.example: [password]"),
        ("redis://:first-one@a,redis://:second-one@b", "first-one second-one", "[password] [password]"),
        ("https://gh-0123456789@git.example/x", "gh-0123456789 git.example", "[password] git.example"),
        ("postgres://app:sword/fish@db.example/app", "invalid port: sword/fish", "invalid port: [password]"),
        ("amqp://mq.example/?password=swordfish&heartbeat=60", "swordfish heartbeat", "[password] heartbeat"),
        ("https://shop.example:8000/@user", "shop.example:8000/@user", "shop.example:8000/@user"),
    ],
)
def test_the_password_in_an_address_is_hidden_and_the_rest_is_not(address: str, text: str, expected: str) -> None:
    """Programs print it without the address, decoded or as it was written."""
    assert shown(text, SERVICE_URL=address) == expected
    whole = shown(f"can't connect to {address}", SERVICE_URL=address)
    assert whole.replace("[password]", "") == f"can't connect to {address}" or "[password]" in whole


@pytest.mark.parametrize(
    "write",
    [quote, quote_plus, lambda text: quote(text, safe=""), lambda text: json.dumps(text)[1:-1],
     lambda text: json.dumps(text, ensure_ascii=False)[1:-1], lambda text: json.dumps(json.dumps(text))[3:-3],
     lambda text: repr(text)[1:-1], html.escape, lambda text: str(base64.b64encode(b"user:" + text.encode()))],
)  # fmt: skip
def test_a_secret_is_hidden_however_it_is_written(write: Callable[[str], str]) -> None:
    """In a URL, in JSON, by repr, in HTML, in a header of HTTP."""
    secret = "sw\u00f6rd/fish & \"more\" <'of'>\tit"
    assert "[API_KEY]" in shown(f"before {write(secret)} after", API_KEY=secret)


def test_a_part_of_a_secret_of_many_lines_is_not_shown() -> None:
    """A program may print some lines of a key, or one value of a document."""
    assert shown("at YW5vdGhlci1wYXJ0, line 2", SIGNING_KEY=PEM) == "at [SIGNING_KEY], line 2"
    assert shown(f"got {PEM!r}", CREDENTIALS=ACCOUNT) == "got '[CREDENTIALS]'"
    assert shown("of shop-1", CREDENTIALS=ACCOUNT) == "of shop-1"


def test_of_secrets_that_overlap_no_part_is_left() -> None:
    """One may begin with another, or begin where another has not ended."""
    assert shown("at swordfish-and-more", A_KEY="swordfish", B_KEY="swordfish-and-more") == "at [B_KEY]"
    assert shown("at swordfishmonger!", A_KEY="swordfish", B_KEY="fishmonger") == "at [B_KEY]!"


@pytest.mark.parametrize(
    ("secret", "text", "expected"),
    [
        ("abc", "abc is wrong, abcdef and dabc are words", "[KEY] is wrong, abcdef and dabc are words"),
        ("abc", r"'x\nabc' x%20abc", r"'x\n[KEY]' x%20[KEY]"),
        ("postgres", "django.db.backends.postgresql: postgres", "django.db.backends.postgresql: [KEY]"),
        ("true", "it is true", "it is true"),
        ("7", "line 7", "line 7"),
        ("", "nothing", "nothing"),
    ],
)
def test_a_message_stays_readable(secret: str, text: str, expected: str) -> None:
    """A short secret, or a common word, is hidden where it stands alone; what can't be a secret is not."""
    assert shown(text, KEY=secret) == expected


def test_what_is_shown_in_its_place_is_not_hidden_itself() -> None:
    """The names are words, too."""
    assert shown("swordfish", A_KEY="swordfish", B_KEY="A_KEY", C_KEY="password") == "[A_KEY]"


@given(secret=st.text(min_size=SHORT), before=st.text(), after=st.text())
def test_no_long_secret_survives(secret: str, before: str, after: str) -> None:
    """Whatever surrounds it."""
    pieces = re.split(r"\[A_TOKEN\]", shown(before + secret + after, A_TOKEN=secret))
    hidden = secret.lower() not in TRIVIAL
    assert not hidden or not any(secret in piece for piece in pieces if "[A_TOKEN]" not in secret)


@given(
    secret=st.text(min_size=SHORTEST, max_size=SHORT - 1),
    before=st.sampled_from([" ", "'", '"', "=", ":", "\n", "(", "/", r"\n", "%2F"]),
    after=st.sampled_from([" ", "'", '"', ",", ".", "\n", ")", "@"]),
)
def test_no_short_secret_that_stands_alone_survives(secret: str, before: str, after: str) -> None:
    """After an escape it does, too."""
    text = shown(f"x{before}{secret}{after}y", A_TOKEN=secret)
    assert secret.lower() in TRIVIAL or "[A_TOKEN]" in text
