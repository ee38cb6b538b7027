"""Turn the events of `pulumi preview --json` into a report in plain words."""

import argparse
import sys
from pathlib import Path

from operations.preview import events, report


def main() -> int:
    """Print the report; 0 when the preview went well, 1 when it was refused, 2 when this is no preview."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", help="the events; standard input by default")
    parser.add_argument("--stack", help="the stack's name, for a preview that ended before it was said")
    parser.add_argument(
        "--without-log", action="store_true", help="leave out the engine's log, which is folded at the end"
    )
    given = parser.parse_args()
    try:
        text = Path(given.file).read_text(encoding="utf-8") if given.file else sys.stdin.read()
        preview = events.read(text.splitlines())
    except (OSError, UnicodeDecodeError, events.NotEventsError) as error:
        sys.stderr.write(f"preview_report: {given.file or 'standard input'}: {error}\n")
        return 2
    preview.stack = preview.stack or given.stack or ""
    sys.stdout.write(report.markdown(preview, with_log=not given.without_log))
    return 1 if preview.errors or preview.violations or not preview.ended else 0


if __name__ == "__main__":
    sys.exit(main())
