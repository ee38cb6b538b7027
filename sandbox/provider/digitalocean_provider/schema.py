"""What is regular about resources, as data, and the rules that follow from it: check, diff, preview, drift."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from plugin_base.wire import UNKNOWN, Properties, Secret, bare, has_unknown

# The input under which the official plugin's bridge keeps the names of the inputs that it filled in itself, so that
# an explicit name can be told from an automatic one: pulumi-terraform-bridge, pkg/tfbridge/schema.go `defaultsKey`.
DEFAULTS = "__defaults"

AUTO_NAME_DIGITS = 7  # of hexadecimal, as the official plugin's names have

ChangeKind = Literal["ADD", "DELETE", "UPDATE", "ADD_REPLACE", "DELETE_REPLACE", "UPDATE_REPLACE"]


class Role(Enum):
    """Who says what a property is."""

    REQUIRED = "the program, always"
    OPTIONAL = "the program, or nobody"
    OPTIONAL_COMPUTED = "the program, else the API"
    COMPUTED = "the API"


REQUIRED = Role.REQUIRED
OPTIONAL = Role.OPTIONAL
OPTIONAL_COMPUTED = Role.OPTIONAL_COMPUTED
COMPUTED = Role.COMPUTED


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One property of a resource."""

    role: Role = OPTIONAL
    replaces: bool | Callable[[Any, Any], bool] = False  # a change needs a new resource; may depend on (old, new)
    secret: bool = False
    default: Any = None
    auto_name: bool = False
    unread: bool = False  # the API never returns it, so state keeps what the program said
    normalise: Callable[[Any], Any] | None = None  # equal after this means unchanged
    same: Callable[[Any, Any, Properties], bool] | None = None  # so does this, of the API's, the program's, all inputs
    stored: Callable[[Any], Any] | None = None  # what state keeps instead of the input
    choices: tuple[str, ...] = ()
    length: tuple[int, int] | None = None
    members: tuple[str, ...] = ()  # of an object, or of the objects in a list: other members are refused
    rule: Callable[[Any], Iterable["Failure"]] | None = None  # what else is wrong with a value


@dataclass(frozen=True, kw_only=True, slots=True)
class Schema:
    """A resource: its type token in pulumi-digitalocean 4.84.1, its name in messages, and its properties."""

    type_name: str
    label: str
    fields: dict[str, Field]
    default_timeouts: dict[str, float] = field(default_factory=dict)  # seconds, per create, update, delete

    @property
    def inputs(self) -> dict[str, Field]:
        """The properties that a program may set."""
        return {name: spec for name, spec in self.fields.items() if spec.role is not COMPUTED}

    @property
    def auto_named(self) -> str | None:
        """The property that gets a name of its own when the program gives none."""
        return next((name for name, spec in self.fields.items() if spec.auto_name), None)


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that can't be accepted: `property: reason`."""

    property: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One changed input and what it means."""

    kind: ChangeKind

    @property
    def replaces(self) -> bool:
        """Whether the resource has to be made anew."""
        return self.kind.endswith("_REPLACE")


@dataclass(frozen=True, kw_only=True, slots=True)
class Naming:
    """What the engine gives for automatic names."""

    resource: str  # the resource's name in the program
    seed: bytes
    proposed: str = ""  # from the `pulumi:autonaming` setting
    disabled: bool = False


# Normalisers, for fields that can be written in several ways.


def lower(value: Any) -> Any:  # noqa: ANN401 -- property values have any shape
    """Compare without case."""
    return value.lower() if isinstance(value, str) else value


def unordered(value: Any) -> Any:  # noqa: ANN401 -- property values have any shape
    """Compare as a set: neither order nor, for objects, empty members matter."""
    if isinstance(value, dict):
        return {key: unordered(item) for key, item in value.items() if not is_empty(item) and key != DEFAULTS}
    if isinstance(value, list):
        # Not by repr: the members of objects come off the wire in any order.
        return sorted((unordered(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


def tag_set(value: Any) -> Any:  # noqa: ANN401 -- property values have any shape
    """Compare as a set of tags, without case."""
    return sorted(lower(tag) for tag in value) if isinstance(value, list) else value


def is_empty(value: object) -> bool:
    """Tell whether a value says nothing: to Terraform's plugin SDK, below the official plugin, zero is as absent."""
    return value is None or value is False or value in ("", 0, [], {})


def canonical(spec: Field, value: Any) -> Any:  # noqa: ANN401 -- property values have any shape
    """Return the value in the form that decides whether it changed."""
    value = bare(value)
    if value is None:
        value = spec.default
    if spec.normalise is not None and value is not None and not has_unknown(value):
        value = spec.normalise(value)
    return None if is_empty(value) else value


def unchanged(spec: Field, old: Any, new: Any, inputs: Properties) -> bool:  # noqa: ANN401 -- canonical values
    """Tell whether two values in their canonical form say the same of a resource with these inputs."""
    return old == new or (spec.same is not None and spec.same(old, new, bare(inputs)))


def _problems(name: str, spec: Field, value: object) -> Iterable[Failure]:
    if has_unknown(value):
        return
    if spec.choices and value not in spec.choices:
        yield Failure(name, f"must be one of {', '.join(spec.choices)}, got {value!r}")
    if spec.length and isinstance(value, str) and not spec.length[0] <= len(value) <= spec.length[1]:
        yield Failure(name, f"must have {spec.length[0]} to {spec.length[1]} characters, got {len(value)}: {value!r}")
    if spec.members:
        items = {name: value} if isinstance(value, dict) else {f"{name}[{i}]": item for i, item in _numbered(value)}
        for path, item in items.items():
            for member in sorted(set(item) - set(spec.members) - {DEFAULTS}):
                yield Failure(
                    f"{path}.{member}",
                    f"is not supported by the sandbox's provider, which knows {', '.join(spec.members)}",
                )
    if spec.rule:
        yield from spec.rule(value)


def _numbered(value: object) -> Iterable[tuple[int, Any]]:
    return enumerate(value) if isinstance(value, list) else ()


def check(schema: Schema, olds: Properties, news: Properties, naming: Naming) -> tuple[Properties, list[Failure]]:
    """Fill in names and defaults and validate; `olds` are the old inputs, empty when the resource is made anew."""
    inputs = {key: value for key, value in news.items() if key != DEFAULTS and value is not None}
    failures: list[Failure] = []
    defaults: list[str] = []
    for name in sorted(set(inputs) - set(schema.inputs)):
        known = "is set by the API" if name in schema.fields else "is not a property that the sandbox's provider knows"
        failures.append(Failure(name, f"{known}; remove it, or see sandbox/provider/digitalocean_provider/resources"))
    for name, spec in schema.inputs.items():
        if name in inputs:
            failures.extend(_problems(name, spec, bare(inputs[name])))
        elif spec.auto_name:
            if name in olds and name in olds.get(DEFAULTS, []):
                inputs[name] = olds[name]
            elif naming.disabled:
                failures.append(Failure(name, "is required, because pulumi:autonaming is disabled; set it"))
                continue
            else:
                inputs[name] = naming.proposed or f"{naming.resource}-{naming.seed.hex()[:AUTO_NAME_DIGITS]}"
            defaults.append(name)
        elif spec.default is not None:
            inputs[name] = spec.default
            defaults.append(name)
        elif spec.role is REQUIRED:
            failures.append(Failure(name, "is required, got nothing; set it"))
    inputs[DEFAULTS] = sorted(defaults)
    return inputs, failures


def diff(schema: Schema, state: Properties, old_inputs: Properties, news: Properties) -> dict[str, Change]:
    """Compare what the program said before with what it says now; what nobody said before is compared with state."""
    changes: dict[str, Change] = {}
    for name, spec in schema.inputs.items():
        if spec.role is OPTIONAL_COMPUTED and news.get(name) is None:
            continue  # the API chose, or chose once; leaving the choice to it changes nothing
        old = old_inputs.get(name)
        if old is None and not spec.unread and spec.stored is None:
            old = state.get(name)
        new = news.get(name)
        before, after = canonical(spec, old), canonical(spec, new)
        # Unknown counts as changed: the engine asks this way whether dependents of a replaced resource must go first.
        if unchanged(spec, before, after, news) and not has_unknown(after):
            continue
        kind = "ADD" if before is None else "DELETE" if after is None else "UPDATE"
        replaces = spec.replaces(before, after) if callable(spec.replaces) else spec.replaces
        changes[name] = Change(kind=f"{kind}_REPLACE" if replaces else kind)  # type: ignore[arg-type]
    return changes


def deletes_before_replacing(schema: Schema, news: Properties, changes: dict[str, Change]) -> bool:
    """Tell whether the old resource must go first: its explicit name would be taken."""
    name = schema.auto_named
    return (
        name is not None
        and name in news
        and name not in news.get(DEFAULTS, [])
        and any(change.replaces for change in changes.values())
    )


def stored_inputs(schema: Schema, inputs: Properties) -> Properties:
    """Return the inputs in the form that state keeps them."""
    state = {}
    for name, value in inputs.items():
        if name == DEFAULTS:
            continue
        spec = schema.fields[name]
        state[name] = spec.stored(bare(value)) if spec.stored and not has_unknown(value) else value
    return state


def wanted(schema: Schema, state: Properties, inputs: Properties) -> Properties:
    """Return the state as it shall be, without what the program has ceased to say and nobody else may say."""
    unsaid = {name for name, spec in schema.inputs.items() if spec.role is OPTIONAL}
    return {name: value for name, value in state.items() if name not in unsaid} | stored_inputs(schema, inputs)


def preview(schema: Schema, state: Properties, inputs: Properties, changes: dict[str, Change] | None) -> Properties:
    """Foretell the outputs. `changes` is None for a new resource, of which nothing that the API sets is known."""
    outputs = stored_inputs(schema, inputs)
    for name, spec in schema.fields.items():
        if name in outputs or spec.role not in (COMPUTED, OPTIONAL_COMPUTED):
            continue
        if changes is None:
            outputs[name] = UNKNOWN
        elif name in state:
            outputs[name] = state[name]
    return outputs


def new_state(schema: Schema, unread: Properties, properties: Properties) -> Properties:
    """Combine what the API returned with what it never returns, which is taken from `unread`."""
    kept = {name: value for name, value in unread.items() if name in schema.fields and schema.fields[name].unread}
    return kept | {name: value for name, value in properties.items() if value is not None}


def seal(schema: Schema, state: Properties) -> Properties:
    """Mark the secrets of a state."""
    return {
        name: Secret(value) if name in schema.fields and schema.fields[name].secret else value
        for name, value in state.items()
    }


def inputs_from(schema: Schema, properties: Properties) -> Properties:
    """Return the inputs of an imported resource: everything settable that the API returns."""
    inputs: Properties = {
        name: properties[name] for name in schema.inputs if name in properties and not is_empty(properties[name])
    }
    inputs[DEFAULTS] = []
    return inputs


def drifted_inputs(schema: Schema, inputs: Properties, properties: Properties) -> Properties:
    """Return the inputs as the API has them now, so that `refresh` shows what somebody else changed."""
    result = dict(inputs)
    for name, spec in schema.inputs.items():
        if spec.unread or spec.stored or (spec.role is OPTIONAL_COMPUTED and name not in inputs):
            continue
        actual = properties.get(name)
        if unchanged(spec, canonical(spec, actual), canonical(spec, inputs.get(name)), inputs):
            continue
        if actual is None:
            result.pop(name, None)
        else:
            result[name] = actual
    return result
