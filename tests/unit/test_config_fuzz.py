"""Whatever is in a stack's settings: they are accepted, or every problem is a line; never a traceback."""

from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from config import ROOT
from config.loading import parse
from config.problems import ConfigError
from config.stack import StackConfig
from operations.settings_docs import section_of

VALID: dict[str, Any] = {
    "name": "shop-dev",
    "region": "fra1",
    "domain": "shop.example",
    "database": {"size": "db-s-2vcpu-4gb"},
    "web": {"size": "s-1vcpu-1gb"},
}


def paths(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every setting and every section."""
    found = []
    for name, field in model.model_fields.items():
        path = (*prefix, field.alias or name)
        found += [path, *(paths(section, path) if (section := section_of(field)) else [])]
    return found


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.binary(max_size=4)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3), max_leaves=8
)


def accepted_or_explained(given_settings: dict[str, Any]) -> None:
    """Parse; a refusal has one line for each problem."""
    try:
        parse(given_settings)
    except ConfigError as error:
        text = str(error)
    else:
        return
    first, *lines = text.splitlines()
    assert first == f"the settings of this stack have {len(lines)} problem{'s' if len(lines) > 1 else ''}:"


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(paths(StackConfig)), values), min_size=1, max_size=4))
def test_any_value_of_any_setting(changes: list[tuple[tuple[str, ...], Any]]) -> None:
    """A valid stack with other values here and there."""
    document = yaml.safe_load(yaml.safe_dump(VALID))
    for (*parents, last), value in changes:
        place = document
        for parent in parents:
            if not isinstance(place.get(parent), dict):
                place[parent] = {}
            place = place[parent]
        place[last] = value
    accepted_or_explained(document)


@settings(max_examples=200)
@given(values)
def test_any_yaml(value: Any) -> None:  # noqa: ANN401 - that is the point
    """Whatever a YAML file can hold in the place of settings."""
    loaded = yaml.safe_load(yaml.safe_dump(value))
    if isinstance(loaded, dict):
        accepted_or_explained({str(key): item for key, item in loaded.items()})


@settings(max_examples=200)
@given(st.data())
def test_a_tracked_stack_with_damaged_lines(data: st.DataObject) -> None:
    """As a hand slips in an editor: a line is cut, doubled, indented, or loses a character."""
    text = data.draw(st.sampled_from(sorted(ROOT.glob("Pulumi.*.yaml")))).read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    number = data.draw(st.integers(1, len(lines) - 1))
    line = lines[number]
    at = data.draw(st.integers(0, len(line)))
    damage = st.sampled_from(
        [[], [line, line], [f" {line}"], [line[:at] + line[at + 1 :]], [line[:at]], [f"{line}: x"]]
    )
    lines[number : number + 1] = data.draw(damage)
    try:
        document = yaml.safe_load("\n".join(lines))
    except yaml.YAMLError:
        return  # Pulumi itself refuses the file
    found = document["config"]
    if isinstance(found, dict):
        accepted_or_explained({str(key).removeprefix("django-do:"): value for key, value in found.items()})
