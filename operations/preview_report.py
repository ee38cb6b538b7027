"""Turn the events of `pulumi preview --json` into a report in plain words."""

from typing import TextIO

import click

from operations.errors import OperationError
from operations.preview import events, report


class NoPreviewError(OperationError):
    """This is not a preview; exit status 2, since 1 is that of a preview that was refused."""

    exit_code = 2


@click.command()
@click.argument("file", type=click.File(encoding="utf-8"), default="-")
@click.option("--stack", help="The stack's name, for a preview that ended before it was said.")
@click.option("--without-log", is_flag=True, help="Leave out the engine's log, which is folded at the end.")
def report_of_preview(file: TextIO, stack: str | None, *, without_log: bool) -> None:
    """Print what the events in FILE (standard input by default) mean.

    The exit status is 0 when the preview went well, 1 when it was refused, 2 when this is not a preview.
    """
    try:
        preview = events.read(file.read().splitlines())
    except (UnicodeDecodeError, events.NotEventsError) as error:
        raise NoPreviewError(f"{file.name}: {error}") from error
    preview.stack = preview.stack or stack or ""
    click.echo(report.markdown(preview, with_log=not without_log), nl=False)
    if preview.errors or preview.violations or not preview.ended:
        raise click.exceptions.Exit(1)
