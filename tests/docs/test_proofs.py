"""The long tables that `make prove` runs: no row is without a result."""

import subprocess
import sys

from tests import proofs
from tests.commands import ROOT


def rows(*argv: str) -> list[str]:
    """Rows that pytest collects, of all files that have some."""
    files = [path for folder in ("tests", "sandbox/tests") for path in (ROOT / folder).rglob("test_*.py")]
    tables = [path for path in files if "pytest.mark.prove" in path.read_text()]
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", *argv, *map(str, tables)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 5}, done.stdout + done.stderr  # 5: none
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_each_row_has_a_result() -> None:
    """One that is new, or another one than it was, has to be run by `make prove`, which writes its result down."""
    assert rows("-p", "tests.proofs") == []
    assert set(rows("-m", "prove")) == proofs.results().keys()
    script = (ROOT / "scripts" / "test").read_text()
    assert "not full and not prove" in script
    assert "full and not prove" in script.replace("not full", "")


def test_no_result_is_of_a_row_that_is_gone() -> None:
    """The page lists what is there, and there is something."""
    assert proofs.results().keys() <= set(rows("-m", "prove"))
    assert len(proofs.results()) > 5


def test_a_result_counts_for_its_definition_only() -> None:
    """Another parameter, or another test, is another row; a function counts by its text."""

    def one() -> int:
        return 1

    def two() -> int:
        return 2

    first = proofs.definition(one, {"value": two})
    assert first == proofs.definition(one, {"value": two})
    others = {
        proofs.definition(two, {"value": two}),
        proofs.definition(one, {"value": one}),
        proofs.definition(one, {}),
    }
    assert len(others - {first}) == 3


def test_results_are_read_as_they_are_written() -> None:
    """Names of rows have commas, spaces and brackets."""
    proof = proofs.Proof("tests/a.py::test[one, two]", "0123456789ab", "abcdef012345", "2026-11-29", "12")
    assert proofs.read(proofs.HEAD + proof.line()) == {proof.row: proof}
