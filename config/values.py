"""Kinds of values: each is checked by itself, by a rule that its message says, with the fix where one can be told."""

import re
from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

# Of values that become part of a Droplet's configuration: droplet/user_data.py goes by them, too.
EMAIL = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+"
HOSTNAME = r"(?=.{4,253})(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])"
PACKAGE = r"[a-z0-9][a-z0-9+.-]+"


def wrong(kind: str, rule: str, fix: str = "", /, **context: str) -> PydanticCustomError:
    """Return the error of a rule, a constant text with {names}; without a fix, the setting's description is one."""
    # The text of an error is a literal to pydantic, which fills in what differs.
    return PydanticCustomError(kind, rule, {**context, "fix": fix})


def one_of(*allowed: str | int) -> AfterValidator:
    """Accept these values."""

    def check(value: str | int) -> str | int:
        if value not in allowed:
            raise wrong("one_of", "must be one of {allowed}", allowed=", ".join(map(str, allowed)))
        return value

    return AfterValidator(check)


def pattern(pattern: str, rule: str, corrected: Callable[[str], str] | None = None) -> AfterValidator:
    """Accept what matches as a whole; `rule` says in words what does, `corrected` what may have been meant."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None:
            meant = corrected(value) if corrected else ""
            fix = f"write {meant}" if meant and compiled.fullmatch(meant) else ""
            raise wrong("pattern", "{rule}", fix, rule=f"must be {rule}")
        return value

    return AfterValidator(check)


def auto_or_number(highest: int) -> BeforeValidator:
    """Accept "auto" or 1 to `highest`: one message, where a plain union would report each of its branches."""

    def check(value: object) -> object:
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        if number != "auto" and not (type(number) is int and 1 <= number <= highest):
            raise wrong("auto", "must be auto or a whole number from 1 to {highest}", highest=str(highest))
        return number

    return BeforeValidator(check)


def host_name(value: str) -> str:
    """Return the host name that somebody may have meant, as it is in the DNS; nothing if there is none.

    It may come as an address with a scheme, a port or a path, in capital letters, with a dot at the end, or with
    letters beyond ASCII, whose form in the DNS is that of UTS 46, as browsers have it.
    """
    import idna  # noqa: PLC0415 for who needs it; it is not small

    host = re.sub(r"^[a-z][a-z0-9+.-]*://|[/?#].*$", "", value.strip(), flags=re.IGNORECASE | re.DOTALL)
    host = re.sub(r":\d*$", "", host.rpartition("@")[2]).rstrip(".")
    try:
        found = idna.encode(host, uts46=True, std3_rules=True).decode()
    except idna.IDNAError:
        return ""
    return found if re.fullmatch(HOSTNAME, found) else ""


def _email_address(value: str) -> str:
    local, at, host = value.strip().removeprefix("mailto:").rpartition("@")
    return f"{local}@{host_name(host)}" if at else ""


def _network(value: object) -> str:
    """Normalise an IPv4 address or CIDR: DigitalOcean's trusted sources know no IPv6."""
    try:
        network = IPv4Network(str(value))
    except ValueError:
        raise wrong("network", "must be an IPv4 address or a CIDR without host bits", network_around(value)) from None
    if network.prefixlen == 0:
        raise wrong("network", "must not be the whole internet")
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def network_around(value: object) -> str:
    """Say which network an address with host bits is of, as the fix; nothing for anything else."""
    try:
        return f"write {IPv4Network(str(value), strict=False)}"
    except ValueError:
        return ""


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        fix = f"take out one {twice}"
        raise wrong("unique", "must name nothing twice, but {twice} is there twice", fix, twice=twice)
    return values


Unique = AfterValidator(_unique)
Email = Annotated[str, pattern(EMAIL, "an e-mail address", _email_address)]
Network4 = Annotated[str, BeforeValidator(_network)]
Seconds = Annotated[int, Field(ge=1, le=3600)]
