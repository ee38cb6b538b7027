"""One statement about DigitalOcean, with its source."""

from dataclasses import dataclass
from typing import Literal

Source = Literal["spec", "docs", "assumed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Assertion:
    """One statement about DigitalOcean's behaviour and why we believe it."""

    product: str
    statement: str
    source: Source
    reference: str  # operation of the OpenAPI description, a page of the documentation, or the reason for assuming


def spec(product: str, statement: str, reference: str) -> Assertion:
    """Return what an operation or a schema of the OpenAPI description says."""
    return Assertion(product=product, statement=statement, source="spec", reference=reference)


def docs(product: str, statement: str, reference: str) -> Assertion:
    """Return what the documentation, the official provider's source or an issue in its tracker says."""
    return Assertion(product=product, statement=statement, source="docs", reference=reference)


def assumed(product: str, statement: str, reference: str) -> Assertion:
    """Return what nothing says, with the reason for our choice."""
    return Assertion(product=product, statement=statement, source="assumed", reference=reference)
