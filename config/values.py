"""Kinds of values: each is checked by itself, by a rule that its message says."""

import re
from ipaddress import IPv4Network
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

# Of values that become part of a Droplet's configuration: droplet/user_data.py goes by them, too.
EMAIL = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+"
HOSTNAME = r"(?=.{4,253})(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])"
PACKAGE = r"[a-z0-9][a-z0-9+.-]+"


def one_of(*allowed: str | int) -> AfterValidator:
    """Accept these values."""

    def check(value: str | int) -> str | int:
        if value not in allowed:
            raise PydanticCustomError("one_of", "must be one of {allowed}", {"allowed": ", ".join(map(str, allowed))})
        return value

    return AfterValidator(check)


def pattern(pattern: str, rule: str) -> AfterValidator:
    """Accept what matches as a whole; `rule` says in words what does."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise PydanticCustomError("pattern", "{rule}", {"rule": f"must be {rule}"})
        return value

    return AfterValidator(check)


def auto_or_number(highest: int) -> BeforeValidator:
    """Accept "auto" or 1 to `highest`: one message, where a plain union would report each of its branches."""

    def check(value: object) -> object:
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        if number != "auto" and not (type(number) is int and 1 <= number <= highest):
            raise PydanticCustomError(
                "auto", "must be auto or a whole number from 1 to {highest}", {"highest": highest}
            )
        return number

    return BeforeValidator(check)


def _network(value: object) -> str:
    """Normalise an IPv4 address or CIDR: DigitalOcean's trusted sources know no IPv6."""
    try:
        network = IPv4Network(str(value))
    except ValueError:
        raise PydanticCustomError("network", "must be an IPv4 address or a CIDR without host bits") from None
    if network.prefixlen == 0:
        raise PydanticCustomError("network", "must not be the whole internet")
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise PydanticCustomError("unique", "must name nothing twice, but {twice} is there twice", {"twice": twice})
    return values


Unique = AfterValidator(_unique)
Email = Annotated[str, pattern(EMAIL, "an e-mail address")]
Network4 = Annotated[str, BeforeValidator(_network)]
Seconds = Annotated[int, Field(ge=1, le=3600)]
