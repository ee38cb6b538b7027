"""What is asserted about DigitalOcean is on one page, which is what the code says."""

from sandbox.api import provenance
from tests.commands import ROOT


def test_the_page_is_current() -> None:
    """`python -m sandbox.api.provenance > docs/provenance.md` would change nothing."""
    assert (ROOT / "docs" / "provenance.md").read_text() == provenance.page()


def test_every_row_has_four_cells() -> None:
    """No statement breaks the table, and each names a reference."""
    rows = [line for line in provenance.page().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert all(len(row) == 4 and all(row) for row in cells)
