"""What is asserted about DigitalOcean is on its pages, which are what the code and DigitalOcean's description say."""

import pytest

from sandbox.api import coverage, operations, provenance
from sandbox.api.calls import Endpoint
from sandbox.api.server import endpoints
from tests.commands import ROOT


def test_the_page_is_current() -> None:
    """`python -m sandbox.api.provenance > sandbox/docs/provenance.md` would change nothing."""
    assert (ROOT / "sandbox" / "docs" / "provenance.md").read_text() == provenance.page()


def test_the_page_of_what_is_claimed_is_current() -> None:
    """`python -m sandbox.api.coverage > sandbox/docs/coverage.md` would change nothing."""
    assert (ROOT / "sandbox" / "docs" / "coverage.md").read_text() == coverage.page()


def test_every_operation_is_claimed_or_refused() -> None:
    """The numbers of the page add up to all that DigitalOcean has."""
    rows = [line.split("|") for line in coverage.page().splitlines() if line.count("|") == 4]
    counted = [int(cell) for row in rows for cell in row[2:4] if cell.strip().isdigit()]
    assert sum(counted) == len(operations.everything())


@pytest.mark.parametrize("endpoint", endpoints(), ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_route_is_an_operation_of_digitalocean(endpoint: Endpoint) -> None:
    """Name, method and path are those of the OpenAPI description, and so are the parameters, but for pages."""
    known = operations.by_id()[endpoint.operation]
    assert (endpoint.method, operations.shape(endpoint.path)) == (known.method, known.shape)
    assert endpoint.query - {"page", "per_page"} <= known.query


def test_every_row_has_four_cells() -> None:
    """No statement breaks the table, and each names a reference."""
    rows = [line for line in provenance.page().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert all(len(row) == 4 and all(row) for row in cells)
