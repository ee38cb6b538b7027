"""Whose turn it is: written down here step by step; what holds always is in test_turns_machine.py."""

import pytest

from provider.traffic.turns import next_turns

FOUR = ("1", "2", "3", "4")


@pytest.mark.parametrize(
    ("turns", "done", "most", "expected"),
    [
        ("", "", 2, "1"),
        ("1", "", 2, "1"),
        ("1", "1", 2, "123"),
        ("123", "12", 2, "1234"),
        ("123", "13", 1, "123"),
        ("1", "1", 9, "1234"),
        ("9", "", 1, "91"),  # one that is gone takes nobody's turn
        ("", "2", 1, "1"),  # one that has it already
        ("1234", "1234", 1, "1234"),
    ],
)
def test_one_alone_and_then_as_many_as_may_be_away(turns: str, done: str, most: int, expected: str) -> None:
    """Turns are kept in the order in which they were given."""
    assert next_turns(tuple(turns), FOUR, set(done), most) == tuple(expected)
