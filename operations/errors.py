"""How a command ends that can't do what it should."""

from typing import IO, Any

import click


class OperationError(click.ClickException):
    """What is wrong and what to do, shown behind the command's words; exit status 1."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        context = click.get_current_context(silent=True)
        self._command = context.command_path if context else "operations"

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it to standard error."""
        click.echo(f"{self._command}: {self.message}", file=file, err=True)
