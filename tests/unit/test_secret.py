import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_base.wire import UNKNOWN
from provider.secret import ALPHABET, SecretProvider, generate


@given(length=st.integers(16, 200))
def test_a_value_has_its_length_and_needs_no_quoting(length: int) -> None:
    """It goes into URLs, environment files and YAML; a leading dash would be an option."""
    value = generate(length)
    assert len(value) == length
    assert set(value) <= set(ALPHABET)
    assert value[0] in string.ascii_letters


def test_two_values_differ() -> None:
    """Nothing is seeded."""
    assert generate(50) != generate(50)


def test_the_id_says_nothing_of_the_value() -> None:
    """Ids are plain in the state and in every log."""
    created = SecretProvider().create({"length": 50})
    assert created.outs is not None
    assert created.id not in created.outs["value"]
    assert created.outs["value"] not in created.id


def test_the_same_length_changes_nothing() -> None:
    """A second update must not change a secret; numbers may come back as floats."""
    diff = SecretProvider().diff("id", {"length": 50, "value": "x"}, {"length": 50.0})
    assert (diff.changes, diff.replaces) == (False, [])


def test_another_length_replaces() -> None:
    """It is another secret, and preview says so."""
    diff = SecretProvider().diff("id", {"length": 50, "value": "x"}, {"length": 64})
    assert (diff.changes, diff.replaces) == (True, ["length"])


@pytest.mark.parametrize("length", [0, 15, 1025, 20.5, "50", None])
def test_a_length_that_is_no_secret_is_refused(length: object) -> None:
    """The message has path, rule and value."""
    (failure,) = SecretProvider().check({}, {"length": length}).failures
    assert failure == f"secret.length: must be a whole number from 16 to 1024 characters, got {length!r}"


@pytest.mark.parametrize("length", [16, 50.0, UNKNOWN])
def test_a_good_length_is_accepted(length: object) -> None:
    """Also one that is not known yet."""
    assert SecretProvider().check({}, {"length": length}).failures == []
