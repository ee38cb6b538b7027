"""What all sections of the settings have in common."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Section(BaseModel):
    """Settings that belong together: frozen, strict about names, camel case in YAML."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        # A number where text belongs ("version: 17") means its digits.
        coerce_numbers_to_str=True,
        hide_input_in_errors=True,
    )
