import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_base.wire import UNKNOWN
from protocol.document import DocumentError
from protocol.environment import canonical, content_hash, environment_key
from provider.actions import ActionError
from provider.uploads.environment import EnvironmentProvider
from tests.unit.conftest import Buckets

DOCUMENT: dict[str, Any] = {
    "wsgi": "mysite.wsgi:application",
    "database": "app@h:25061/pool",
    "health_path": "/",
    "health_status": ["200-399", "401"],
    "allow": [],
    "env": {"SECRET_KEY": "hunter2", "ÜMLAUT": "ä\n'\""},
    "release_env": {"DATABASE_URL": "postgres://migrator:hunter2@h/d"},
    "database_ca": "-----BEGIN CERTIFICATE-----\n",
}


def props(buckets: Buckets, document: dict[str, Any] = DOCUMENT) -> dict[str, Any]:
    """Return the inputs of an environment."""
    text = canonical(document)
    return {
        "bucket": buckets.releases,
        "region": buckets.region,
        "document": text,
        "hash": content_hash(text),
        "key": environment_key(content_hash(text)),
    }


@given(st.permutations(list(DOCUMENT)))
def test_the_order_of_its_parts_does_not_change_a_document(order: list[str]) -> None:
    """Otherwise a second update would be a new release."""
    assert canonical({name: DOCUMENT[name] for name in order}) == canonical(DOCUMENT)


def test_a_document_may_name_its_python() -> None:
    """The Droplet's own is used where none is named, and then nothing is said about it."""
    assert json.loads(canonical(DOCUMENT | {"python": "3.13"})) == DOCUMENT | {"python": "3.13"}


@pytest.mark.parametrize("secrets", ["SECRET_KEY", [1], None])
def test_the_names_of_secrets_are_a_list(secrets: object) -> None:
    """A text would be taken for its letters, and hide nothing."""
    with pytest.raises(DocumentError, match=r"environment\.secrets: must be a list of texts, got "):
        canonical(DOCUMENT | {"secrets": secrets})


def test_the_document_is_stored_as_it_is(buckets: Buckets) -> None:
    """The Droplet reads what the program wrote, umlauts and quotes included."""
    EnvironmentProvider().create(props(buckets))
    assert buckets.client.get_json(buckets.releases, props(buckets)["key"]) == DOCUMENT


def test_the_object_holds_what_its_name_says(buckets: Buckets) -> None:
    """The hash is the SHA-256 of the object's bytes, so that the Droplet can verify it."""
    inputs = props(buckets)
    EnvironmentProvider().create(inputs)
    assert content_hash(buckets.body(buckets.releases, inputs["key"]).decode()) == inputs["hash"]


def test_the_outputs_hold_no_secret(buckets: Buckets) -> None:
    """The document is an input, encrypted in the state; it is not repeated."""
    created = EnvironmentProvider().create(props(buckets))
    assert "hunter2" not in json.dumps(created.outs) + created.id


def test_a_changed_document_is_uploaded_beside_the_old_one(buckets: Buckets) -> None:
    """A rollback needs the old one."""
    old = props(buckets)
    new = props(buckets, DOCUMENT | {"wsgi": "other.wsgi:application"})
    EnvironmentProvider().create(old)
    EnvironmentProvider().update("id", old, new)
    assert buckets.keys(buckets.releases) == sorted([old["key"], new["key"]])


def test_what_is_there_is_not_uploaded_again(buckets: Buckets) -> None:
    """The object is immutable."""
    inputs = props(buckets)
    buckets.client.put(buckets.releases, inputs["key"], b"first upload", "application/json")
    EnvironmentProvider().create(inputs)
    assert buckets.body(buckets.releases, inputs["key"]) == b"first upload"


def test_a_hash_of_something_else_is_refused(buckets: Buckets) -> None:
    """An object under a wrong name would be wrong for ever."""
    with pytest.raises(ActionError, match=r"environment\.hash: must be the document's SHA-256"):
        EnvironmentProvider().create(props(buckets) | {"hash": "0" * 64})


def test_nothing_differs_the_second_time(buckets: Buckets) -> None:
    """The old outputs have no document: the hash stands for it."""
    olds = EnvironmentProvider().create(props(buckets)).outs
    assert olds is not None
    assert EnvironmentProvider().diff("id", olds, props(buckets)).changes is False


@pytest.mark.parametrize(("name", "replaces"), [("hash", []), ("bucket", ["bucket"])])
def test_another_document_updates_and_another_bucket_replaces(buckets: Buckets, name: str, replaces: list[str]) -> None:
    """A hash that is unknown belongs to a document with something new in it."""
    diff = EnvironmentProvider().diff("id", props(buckets), props(buckets) | {name: UNKNOWN})
    assert (diff.changes, diff.replaces) == (True, replaces)


def test_refresh_finds_an_object_that_was_deleted_by_hand(buckets: Buckets) -> None:
    """Then the next update uploads it again."""
    inputs = props(buckets)
    assert EnvironmentProvider().read("id", inputs).id is None
    EnvironmentProvider().create(inputs)
    assert EnvironmentProvider().read("id", inputs).id == "id"


def test_all_problems_of_a_document_are_reported_without_a_value() -> None:
    """Values are secrets; names are enough to find them."""
    document = {
        "wsgi": "",
        "database": "app@h:25061/pool",
        "health_path": "/",
        "health_status": [200],
        "allow": "debug",
        "env": {"DEBUG": False, "A=B": "hunter2", "NUL": "hunter2\0"},
        "release_env": None,
        "database_ca": "pem",
        "python": 3.13,
        "extra": "hunter2",
    }
    with pytest.raises(DocumentError) as caught:
        canonical(document)
    assert str(caught.value).splitlines() == [
        (
            "environment.extra: unknown, the document has wsgi, database, health_path, health_status, allow, env, "
            "release_env, database_ca, python, secrets"
        ),
        "environment.wsgi: must be a non-empty text, got an empty one",
        "environment.python: must be a non-empty text, got float",
        "environment.health_status: must be a list of texts, got list",
        "environment.allow: must be a list of texts, got str",
        "environment.env.A=B: must be a name without `=`; rename the variable",
        "environment.env.DEBUG: must be a text, got bool; put it in quotes",
        "environment.env.NUL: must not hold a NUL character, no process could get it; encode the value",
        "environment.release_env: must be a mapping of texts, got NoneType",
    ]


def test_check_accepts_what_is_not_known_yet() -> None:
    """During the first preview the passwords are unknown, and so is all that holds them."""
    news = dict.fromkeys(("bucket", "region", "document", "hash", "key"), UNKNOWN)
    assert EnvironmentProvider().check({}, news).failures == []
