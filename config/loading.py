"""The only reader of pulumi.Config: settings are read and checked as a whole before anything is planned."""

from collections.abc import Mapping
from typing import Annotated, Any, cast

import pulumi
import pulumi.runtime.config as runtime_config
from pydantic import TypeAdapter, ValidationError

from config import NAMESPACE
from config.problems import ConfigError, describe
from config.rules import RULES
from config.section import Section
from config.stack import StackConfig


def load() -> StackConfig:
    """Read and check the settings of the stack that is being run; raises ConfigError with every problem."""
    return parse(_settings())


def provider_setting(name: str) -> str | None:
    """Return a setting of DigitalOcean's provider, such as `token`, in plain; None when the stack has none."""
    return pulumi.Config("digitalocean").get(name)


def parse(settings: Mapping[str, Any]) -> StackConfig:
    """Check settings as they are in YAML; raises ConfigError with every problem at once."""
    given = {key: value for key, value in settings.items() if value is not None}
    problems: list[str] = []
    config: StackConfig | None = None
    try:
        config = StackConfig.model_validate(given)
    except ValidationError as error:
        problems += [describe(details) for details in error.errors()]
    # Rules between settings are checked as far as their own settings are right, so that one run names everything.
    candidate = config or cast("StackConfig", _partial(StackConfig, given))
    for rule in RULES:
        try:
            problems += rule(candidate)
        except AttributeError:
            if config is not None:
                raise  # a complete configuration has every attribute: this is a mistake in the rule
    if problems or config is None:
        raise ConfigError(problems)
    return config


def _settings() -> dict[str, Any]:
    """All settings of the namespace, structured values decoded, secrets in plain."""
    config = pulumi.Config(NAMESPACE)
    sections = {
        field.alias for field in StackConfig.model_fields.values() if isinstance(field.annotation, type(Section))
    }
    # pulumi.Config can't list its keys, and a misspelt section must not pass unnoticed.
    known = {*runtime_config.CONFIG.get(), *runtime_config.get_config_env()}
    keys = {key.removeprefix(f"{NAMESPACE}:") for key in known if key.startswith(f"{NAMESPACE}:")}
    settings: dict[str, Any] = {}
    for key in sorted(keys):
        try:
            settings[key] = config.get_object(key) if key in sections else config.get(key)
        except pulumi.ConfigTypeError:
            settings[key] = config.get(key)  # plain text where a section belongs: validation says so
    return settings


def _partial(model: type[Section], given: Mapping[str, Any]) -> Section:
    """Build a model without the fields that are missing or wrong: reading one of those raises AttributeError."""
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        annotation: Any = field.annotation
        value = given.get(field.alias or name)
        if value is None:
            if not field.is_required():
                values[name] = field.get_default(call_default_factory=True, validated_data={})
        elif isinstance(annotation, type(Section)) and isinstance(value, dict):
            values[name] = _partial(annotation, value)
        else:
            whole: Any = Annotated[annotation, *field.metadata] if field.metadata else annotation
            try:
                values[name] = TypeAdapter(whole, config=None).validate_python(value)
            except ValidationError:
                continue  # reported by the whole model's validation
    partial = model.model_construct()
    partial.__dict__.clear()
    partial.__dict__.update(values)
    return partial
