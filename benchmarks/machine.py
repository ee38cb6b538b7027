"""What the figures were measured on, and how results are kept."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "django-do"
RESULTS = Path(__file__).parent / "results"


def command(*argv: str) -> list[str]:
    """Return a command as scripts/up runs it."""
    return [str(ROOT / argv[0]) if argv[0].startswith("scripts/") else argv[0], *argv[1:]]


def machine() -> str:
    """One line about this machine: cores, memory, kernel, Python, and its load at this moment."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}, {datetime.now(UTC):%Y-%m-%d}"
    )


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    """Rows as a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def publish(name: str, question: str, body: str) -> None:
    """Print a result and keep it beside its question."""
    text = f"# {question}\n{machine()}\n\n{body}\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text)
    print(text)  # noqa: T201 the answer is for the person who asked
