"""The list of deliberate breakages, and the page of what was found."""

from tests.breakages import HEAD, PAGE, breakages


def test_the_page_has_each_breakage_and_each_was_caught() -> None:
    """In the table's order, with its file and test; one that was changed has to be made again."""
    page = PAGE.read_text()
    assert page.startswith(HEAD)
    rows = [row.split(" | ") for row in page.removeprefix(HEAD).splitlines()]
    found = [(what.removeprefix("| "), file, test, caught) for what, file, test, caught, *_ in rows]
    assert found == [(one.what, f"`{one.file}`", f"`{one.test}`", "yes") for one in breakages()]
    assert len(found) >= 40


def test_each_breakage_is_one_text_of_its_file() -> None:
    """Or it could not be made any more."""
    for breakage in breakages():
        text = breakage.path.read_text()
        assert breakage.broken(text) != text, breakage.what
