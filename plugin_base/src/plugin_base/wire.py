"""Property bags between Pulumi's wire format (protobuf Structs) and plain Python values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf import struct_pb2  # type: ignore[import-untyped]

Properties = dict[str, Any]

# Constants of the wire format: sdk/go/common/resource/plugin/rpc.go and resource/sig/sig.go of pulumi/pulumi 3.259.0.
UNKNOWN_SENTINELS = frozenset(
    {
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",  # string, and what everything else travels as
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)
UNKNOWN_SENTINEL = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
SIGNATURE_KEY = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 -- a marker, not a password


class Unknown:
    """A value that only exists after `pulumi up`; there is one, UNKNOWN."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that the engine must encrypt in its state and hide in its output."""

    value: Any

    def __repr__(self) -> str:
        return "Secret(...)"  # never the value: reprs end up in logs


def _decode_struct(struct: struct_pb2.Struct) -> Any:  # noqa: ANN401 -- an object, or a secret of any shape
    fields = struct.fields
    if SIGNATURE_KEY in fields and fields[SIGNATURE_KEY].string_value == SECRET_SIGNATURE:
        return Secret(_decode_value(fields["value"]))
    return decode(struct)


def _decode_number(number: float) -> int | float:
    return int(number) if number.is_integer() else number  # Pulumi sends nothing but doubles


_DECODERS: dict[str | None, Callable[[struct_pb2.Value], Any]] = {
    None: lambda _value: None,
    "null_value": lambda _value: None,
    "bool_value": lambda value: value.bool_value,
    "number_value": lambda value: _decode_number(value.number_value),
    "string_value": lambda value: UNKNOWN if value.string_value in UNKNOWN_SENTINELS else value.string_value,
    "list_value": lambda value: [_decode_value(item) for item in value.list_value.values],
    "struct_value": lambda value: _decode_struct(value.struct_value),
}


def _decode_value(value: struct_pb2.Value) -> Any:  # noqa: ANN401 -- property values have any shape
    return _DECODERS[value.WhichOneof("kind")](value)


def decode(struct: struct_pb2.Struct) -> Properties:
    """Read a property bag; whole numbers become ints, as Pulumi only sends doubles."""
    return {key: _decode_value(value) for key, value in struct.fields.items()}


def _encode_value(value: object, into: struct_pb2.Value) -> None:
    match value:
        case Secret():
            fields = into.struct_value.fields
            fields[SIGNATURE_KEY].string_value = SECRET_SIGNATURE
            _encode_value(value.value, fields["value"])
        case Unknown():
            into.string_value = UNKNOWN_SENTINEL
        case None:
            into.null_value = struct_pb2.NULL_VALUE
        case bool():  # before int: a bool is one
            into.bool_value = value
        case int() | float():
            into.number_value = value
        case str():
            into.string_value = value
        case dict():
            into.struct_value.CopyFrom(encode(value))
        case list():
            into.list_value.SetInParent()
            for item in value:
                _encode_value(item, into.list_value.values.add())
        case _:
            raise TypeError(f"{type(value).__name__}: not a property value; use plain Python data")


def encode(properties: Properties) -> struct_pb2.Struct:
    """Write a property bag."""
    struct = struct_pb2.Struct()
    for key, value in properties.items():
        _encode_value(value, struct.fields[key])
    return struct


def bare(value: Any) -> Any:  # noqa: ANN401 -- property values have any shape
    """Return the value without secret wrappers, at every level."""
    if isinstance(value, Secret):
        return bare(value.value)
    if isinstance(value, dict):
        return {key: bare(item) for key, item in value.items()}
    if isinstance(value, list):
        return [bare(item) for item in value]
    return value


def has_unknown(value: object) -> bool:
    """Tell whether any part of the value is unknown."""
    if isinstance(value, Unknown):
        return True
    if isinstance(value, Secret):
        return has_unknown(value.value)
    if isinstance(value, dict):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return False


def has_secret(value: object) -> bool:
    """Tell whether any part of the value is secret."""
    if isinstance(value, dict):
        return any(has_secret(item) for item in value.values())
    if isinstance(value, list):
        return any(has_secret(item) for item in value)
    return isinstance(value, Secret)
