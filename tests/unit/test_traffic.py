"""The generator of visitors counts what they lose: what it calls zero elsewhere is one."""

import pytest

from benchmarks.web.load import Answer
from tests.fleet.traffic import LATE, Traffic


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        (Answer(at=1, status=200, after=0.1, error=""), 0),
        (Answer(at=1, status=302, after=0.1, error=""), 0),
        (Answer(at=1, status=404, after=0.1, error="404 Not Found"), 0),
        (Answer(at=1, status=200, after=LATE + 0.1, error=""), 1),
        (Answer(at=1, status=500, after=0.1, error="500 Internal Server Error"), 1),
        (Answer(at=1, status=503, after=0.1, error="503 Service Unavailable"), 1),
        (Answer(at=1, status=0, after=0.1, error="connection refused"), 1),
    ],
)
def test_what_is_lost(answer: Answer, lost: int) -> None:
    """An error of the server, an answer after more than five seconds, or none."""
    assert len(Traffic(answers=[answer]).lost) == lost
