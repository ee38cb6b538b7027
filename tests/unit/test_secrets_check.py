"""What counts as a secret of a stack, and in which forms it is found."""

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations import secrets_check
from operations.secrets_check import CheckError, Secrets
from plugin_base.wire import SECRET_SIGNATURE, SIGNATURE_KEY
from protocol.written import SHORTEST

PASSWORD = 'p&ss<w"rd/é\\x'


def of(**named: str) -> Secrets:
    """Secrets by their names."""
    secrets = Secrets()
    for name, value in named.items():
        secrets.add(name.replace("__", "."), value)
    return secrets


def secret(value: object) -> dict[str, str]:
    """What `pulumi stack export --show-secrets` makes of one."""
    return {SIGNATURE_KEY: SECRET_SIGNATURE, "plaintext": json.dumps(value)}


def state(name: str = "site-key", **inputs: object) -> dict[str, Any]:
    """A state with one resource."""
    return {"deployment": {"resources": [{"urn": f"urn:pulumi:dev::p::t::{name}", "inputs": inputs}]}}


@pytest.mark.parametrize(
    "written",
    [
        PASSWORD,
        json.dumps(PASSWORD),
        json.dumps(json.dumps(PASSWORD)),
        r"p\u0026ss\u003cw\"rd/é\\x",  # as Go writes JSON
        quote(PASSWORD, safe=""),
        *(base64.b64encode(f"{before}{PASSWORD}, and more".encode()).decode() for before in ("", "1", "12", "user:")),
    ],
)
def test_a_secret_is_found_however_it_is_written(written: str) -> None:
    """In the middle of a text, by its name."""
    assert of(password=PASSWORD).found_in("log", f"connecting with {written} …") == ["password"]


@given(value=st.text(min_size=SHORTEST), before=st.text(), after=st.text())
def test_any_secret_is_found_in_any_text(value: str, before: str, after: str) -> None:
    """In an error's message, in a document, in a document in a document, in Base64."""
    text = before + value + after
    for written in (text, json.dumps(text), json.dumps({"a": json.dumps({"b": text})})):
        assert of(password=value).found_in("log", written) == ["password"]
    assert of(password=value).found_in("log", base64.b64encode(text.encode()).decode()) == ["password"]


def test_a_private_key_is_found_in_a_display_that_indents() -> None:
    """By its longest line."""
    key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIH0123456789abcdef\n-----END PRIVATE KEY-----\n"
    indented = "\n".join(f"      + {line}" for line in key.splitlines())
    assert of(key=key).found_in("log", indented) == ["key"]


def test_the_state_is_searched_to_its_leaves() -> None:
    """Secrets in lists and mappings, and secrets that are lists and mappings; plain text and references are none."""
    reference = {SIGNATURE_KEY: "5cf8f73096256a8f31e491e813e4eb8e", "urn": "urn:pulumi:dev::p::t::other"}
    found = state(
        plain="not a secret", other=reference, deep=[{"password": secret("in-a-list")}],
        whole=secret({"a": ["in-a-secret"], "port": 5432}),
    )  # fmt: skip
    assert list(secrets_check.secrets_of_state(found)) == [
        ("site-key.deep.password", "in-a-list"),
        ("site-key.whole.a", "in-a-secret"),
    ]


def test_the_settings_are_searched_to_their_leaves() -> None:
    """What is encrypted in the file, in plain."""
    encrypted = {
        "app": {"env": {"A": "b"}, "secrets": {"KEY": {"secure": "v1:…"}}},
        "list": [{"url": {"secure": "v1:…"}}],
    }
    plain = {"app": {"env": {"A": "b"}, "secrets": {"KEY": "payments"}}, "list": [{"url": "https://hook"}]}
    assert list(secrets_check.secrets_of_settings(encrypted, plain, "settings")) == [
        ("settings.app.secrets.KEY", "payments"),
        ("settings.list.url", "https://hook"),
    ]


def test_user_data_may_have_the_agents_key_and_no_other() -> None:
    """Nor may anything else have the agent's."""
    secrets = of(polls__agent_key="x" * 9)
    secrets.add("polls-agent-key.secretKey", "agent-secret")
    secrets.add("settings.django-do:storage.keys.agent.accessKey", "agent-access")
    secrets.add("polls-app-key.secretKey", "app-secret")
    text = "agent-secret agent-access app-secret"
    assert secrets.found_in("user data of polls-web-1", text) == ["polls-app-key.secretKey"]
    assert len(secrets.found_in("pulumi stack output", text)) == 3


def test_user_data_that_is_a_secret_is_no_leak_of_itself() -> None:
    """It is one in the state, for the sake of the key."""
    secrets = of(web__userData="#cloud-config with a key")
    assert secrets.found_in("user data of web", "#cloud-config with a key") == []
    assert secrets.found_in("pulumi preview", "#cloud-config with a key") == ["web.userData"]


def test_the_report_says_where_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    """Places and names, never a value; what was not looked for is named; the exit status tells."""
    secrets = of(password="correct-horse", pin="1234")
    secrets_check.report(secrets, {"a log": "no horse", "process list meanwhile": ""})
    assert "a log                                        8 characters: none\n" in capsys.readouterr().out
    with pytest.raises(CheckError) as caught:
        secrets_check.report(secrets, {"a log": "a correct-horse"})
    said = capsys.readouterr().out + caught.value.message
    assert "a log                                       15 characters: password\n" in said
    assert "shorter than 8 characters: pin" in said
    assert "no /proc here" in said
    assert "correct-horse" not in said


def test_nothing_to_look_for_is_no_success() -> None:
    """A stack that was not deployed proves nothing."""
    with pytest.raises(CheckError, match="must have resources, has none; deploy"):
        list(secrets_check.secrets_of_state({"deployment": {}}))
