import pytest
from google.protobuf import struct_pb2  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from plugin_base.wire import (
    SECRET_SIGNATURE,
    SIGNATURE_KEY,
    UNKNOWN,
    UNKNOWN_SENTINELS,
    Secret,
    bare,
    decode,
    encode,
    has_unknown,
)

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**53), max_value=2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.just(UNKNOWN),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.builds(Secret, inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), plain))
def test_every_property_bag_survives_the_wire(properties: dict[str, object]) -> None:
    """What is encoded is decoded again, with unknowns and secrets at any level."""
    wire = struct_pb2.Struct.FromString(encode(properties).SerializeToString())

    assert properties == decode(wire)


@pytest.mark.parametrize("sentinel", sorted(UNKNOWN_SENTINELS))
def test_every_sentinel_of_the_engine_is_unknown(sentinel: str) -> None:
    """A string that stands for a missing number or list is never taken for a value."""
    struct = struct_pb2.Struct()
    struct["size"] = sentinel

    assert decode(struct) == {"size": UNKNOWN}


def test_whole_numbers_become_ints() -> None:
    """Pulumi sends doubles only; the API wants `1`, not `1.0`."""
    struct = struct_pb2.Struct()
    struct["count"] = 3.0

    assert [str(value) for value in decode(struct).values()] == ["3"]


def test_a_secret_is_marked_the_way_the_engine_reads_it() -> None:
    """The wrapper has Pulumi's signature and the value beside it."""
    encoded = encode({"password": Secret("hunter2")})

    assert dict(encoded["password"].items()) == {SIGNATURE_KEY: SECRET_SIGNATURE, "value": "hunter2"}


def test_a_secret_never_shows_its_value() -> None:
    """Representations end up in logs and tracebacks."""
    assert "hunter2" not in repr({"password": Secret("hunter2")})


def test_bare_removes_secrets_at_every_level() -> None:
    """Comparisons look at values."""
    assert bare({"rules": Secret([{"value": Secret("x")}])}) == {"rules": [{"value": "x"}]}


def test_an_unknown_deep_inside_counts() -> None:
    """A list with one unknown member is not known yet."""
    assert has_unknown({"rules": [{"value": Secret(UNKNOWN)}]})


def test_other_types_are_refused() -> None:
    """A programmer's mistake is named, not written as text."""
    with pytest.raises(TypeError, match="set: not a property value"):
        encode({"tags": {"web"}})
