"""A failed program's output, as it is shortened for a report: what failed, why, the end."""

import subprocess
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.failure import CAUSE, LEFT_OUT, LIMIT, LINKS, LONGEST_CAUSE, MOST_CAUSES, TRACEBACK, shortened

COMMAND = "`manage.py migrate --noinput` ended with status 1"
NOISE = [f"  Applying shop.{number:04}_something... OK" for number in range(400)]
PIECES = [
    COMMAND, TRACEBACK, f"  Applying shop.0002...{TRACEBACK}", '  File "/srv/app/shop/models.py", line 3, in save',
    '  File "/srv/venv/lib/python3.13/site-packages/django/x.py", line 9, in run', "    self.save()", "    ^^^^^^",
    "ValueError: no", "ERRORS:", "?: (x.E001) no", "CommandError: no", "error: no", CAUSE + "x", LEFT_OUT, "", " ",
    "  cause: y", *LINKS, "x" * 5000, "[2026-11-30] [7] [ERROR] Exception in worker process",
    "  | ValueError: in a group", "\u2028\x0b\r\x85",
]  # fmt: skip
outputs = st.lists(st.sampled_from(PIECES) | st.text(max_size=40), max_size=60).map("\n".join)


def output_of(code: str) -> str:
    """What Python prints for a program that fails."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def why(*lines: str) -> list[str]:
    """The lines that say why, of an output that has so many that they would not be seen."""
    said = shortened("\n".join([COMMAND, *NOISE, *lines, *NOISE])).split("\n")
    assert said[0] == COMMAND
    assert said[-1] == NOISE[-1]
    return [line.removeprefix(CAUSE) for line in said if line.startswith(CAUSE)]


@given(text=outputs)
def test_it_is_cut_once(text: str) -> None:
    """However often the rule is applied, and what is left has a bound."""
    once = shortened(text)
    assert shortened(once) == once
    assert len(once) <= LIMIT


@given(text=st.text(max_size=200).filter(lambda text: TRACEBACK not in text and "rror" not in text))
def test_a_short_text_without_a_cause_stays_as_it_is(text: str) -> None:
    """But for what surrounds it."""
    assert CAUSE in text or "\u00d7" in text or "─▶" in text or shortened(text) == text.strip()


@given(text=outputs)
def test_it_begins_and_ends_with_the_same_lines(text: str) -> None:
    """And has no line that was not there, but those that say why."""
    before, after = text.strip().split("\n"), shortened(text).split("\n")
    assert after[0][:400] == before[0][:400]
    assert after[-1][-400:] == before[-1][-400:]
    assert {line for line in after[1:] if not line.startswith(CAUSE) and " … " not in line} <= {*before, LEFT_OUT}
    assert sum(line.startswith(CAUSE) for line in after) <= MOST_CAUSES + text.count(CAUSE)


@pytest.mark.parametrize("link", ["raise ValueError('Unable to configure handler') from error", "{}['file']"])
def test_the_first_cause_of_a_chain_is_found(link: str) -> None:
    """It is far up, under the exceptions that followed from it."""
    trace = output_of(f"""
        def deeper(depth):
            if depth:
                deeper(depth - 1)
            else:
                try:
                    open("/nowhere/shop.log", "a")
                except OSError as error:
                    {link}
        deeper(40)
        """)
    first, last = why(trace)
    assert first == "FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/shop.log' (<string>, line 7)"
    assert last in {"ValueError: Unable to configure handler", "KeyError: 'file'"}


def test_of_many_starts_of_a_worker_the_last_one_counts() -> None:
    """Each says the same; what was said before by something else is not its cause."""
    start = "[2026-11-30 07:00:00 +0000] [7] [ERROR] Exception in worker process\n"
    trace = output_of(
        "import logging.config\nlogging.config.dictConfig({'version': 1, 'root': {'handlers': ['mail']}})"
    )
    end = "[2026-11-30 07:00:00 +0000] [7] [INFO] Worker exiting (pid: 7)"
    said = why(output_of("1 / 0"), *[start + trace + end] * 30)
    assert said == ["KeyError: 'mail'", "ValueError: Unable to configure root logger"]


def test_a_traceback_without_its_beginning_still_has_a_first_cause() -> None:
    """The journal's oldest lines may be gone."""
    lines = [
        "    handler = self.open()",
        "OSError: [Errno 30] Read-only file system: '/x'",
        "",
        LINKS[1],
        "",
        TRACEBACK,
    ]
    assert why(*lines, '  File "/srv/app/shop/settings.py", line 9, in <module>', "ValueError: no handler", "") == [
        "OSError: [Errno 30] Read-only file system: '/x'",
        "ValueError: no handler",
    ]


def test_a_migration_that_fails_is_named_with_the_databases_own_words() -> None:
    """Django has not ended its line when the traceback begins, and the driver's text has several."""
    text = 'column "prise" does not exist\nLINE 1: SELECT "prise" FROM "shop_item"\n               ^\nHINT:  "price"?'
    place = '  File "/srv/app/releases/1/app/shop/migrations/0002_prices.py", line 12, in forwards'
    library = '  File "/srv/app/releases/1/venv/lib/python3.13/site-packages/django/db/utils.py", line 105, in execute'
    driver = [place, "    execute(sql)", library, f"psycopg.errors.UndefinedColumn: {text}", "", LINKS[1], ""]
    lines = [*driver, TRACEBACK, library, f"django.db.utils.ProgrammingError: {text}", ""]
    assert why(f"  Applying shop.0002_prices...{TRACEBACK}", *lines) == [
        (
            'Applying shop.0002_prices... psycopg.errors.UndefinedColumn: column "prise" does not exist '
            "(/srv/app/releases/1/app/shop/migrations/0002_prices.py, line 12)"
        ),
        'LINE 1: SELECT "prise" FROM "shop_item"',
        'django.db.utils.ProgrammingError: column "prise" does not exist',
    ]


def test_an_exception_of_a_group_is_found() -> None:
    """Its lines begin in another way."""
    trace = output_of("""
        import asyncio
        async def fail(error):
            raise error
        async def both():
            async with asyncio.TaskGroup() as group:
                group.create_task(fail(OSError("first")))
                group.create_task(fail(ValueError("second")))
        asyncio.run(both())
        """)
    assert why(trace) == ["ValueError: second (<string>, line 4)"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ["SystemCheckError: System check identified some issues:", "", "ERRORS:",
             "shop.Item.price: (fields.E130) no", "\tHINT: set it.", "", "WARNINGS:", "?: (security.W004) HSTS"],
            ["shop.Item.price: (fields.E130) no", "HINT: set it."],
        ),
        (
            ["Resolved 9 packages in 2ms", "  \u00d7 Failed to build `psycopg2==2.9.10`",
             "  ├─▶ The build backend returned an error",
             "  ╰─▶ Call to `setuptools.build_meta` failed (exit status: 1)",
             "      [stderr]", "      ./psycopg/psycopg.h:35:10: fatal error: libpq-fe.h: No such file or directory"],
            ["\u00d7 Failed to build `psycopg2==2.9.10`", "├─▶ The build backend returned an error",
             "╰─▶ Call to `setuptools.build_meta` failed (exit status: 1)"],
        ),
        (
            ["  gcc -c x.c", "      ./psycopg/psycopg.h:35:10: fatal error: libpq-fe.h: No such file or directory"],
            ["./psycopg/psycopg.h:35:10: fatal error: libpq-fe.h: No such file or directory"],
        ),
        (["error: Failed to fetch", "  Caused by: dns error"], ["error: Failed to fetch", "Caused by: dns error"]),
        (["error: No solution found", "  cause: Because of it"], ["error: No solution found", "Because of it"]),
        (["manage.py check: error: unknown arguments: --x"], ["manage.py check: error: unknown arguments: --x"]),
        (["CommandError: Conflicting migrations detected"], ["CommandError: Conflicting migrations detected"]),
        (
            ["[2026-11-30 07:00:00 +0000] [7] [ERROR] Worker (pid:8) was sent SIGKILL! Perhaps out of memory?"],
            ["[2026-11-30 07:00:00 +0000] [7] [ERROR] Worker (pid:8) was sent SIGKILL! Perhaps out of memory?"],
        ),
    ],
)  # fmt: skip
def test_what_programs_say_without_a_traceback_is_found(lines: list[str], expected: list[str]) -> None:
    """Django's checks, uv, a compiler, argparse, Gunicorn."""
    assert why(*lines) == expected


def test_a_cause_that_is_seen_at_once_is_not_said_twice() -> None:
    """There is nothing before it."""
    text = f"{COMMAND}\nCommandError: Conflicting migrations detected"
    assert shortened(text) == text


def test_a_long_line_keeps_its_beginning_and_its_end() -> None:
    """Of SQL, say, where the name of a table may be at either."""
    said = shortened(f"{COMMAND}\n{TRACEBACK}\nIntegrityError: first {'x' * 20000} last")
    assert "first xxx" in said
    assert said.endswith("xxx last")
    assert max(map(len, said.split("\n"))) <= max(LONGEST_CAUSE, 1000)
