"""`python -m operations COMMAND`: what people and workflows do with a stack beside `pulumi up`."""

from collections.abc import Mapping
from importlib import import_module

import click

# Words of a command -> the function that it is, with its module.
COMMANDS = {
    "backend space": "backend:space",
    "backend cloud": "backend:cloud",
    "backend earlier": "backend:earlier",
    "benchmark clean": "benchmark.clean:command",
    "benchmark pool": "benchmark.pool:command",
    "cost": "cost:command",
    "policy docs": "policy_docs:docs",
    "preview report": "preview_report:report_of_preview",
    "recover": "recover:command",
    "secrets check": "secrets_check:check",
    "settings docs": "settings_docs:docs",
}
ABOUT = {
    "backend": "Where a team keeps Pulumi's state, and earlier states of a stack.",
    "benchmark": "What is measured on clusters of its own.",
    "policy": "The rules that every stack must keep to.",
    "preview": "What `pulumi preview` says, in plain words.",
    "secrets": "That no secret is in plain where it does not belong.",
    "settings": "The settings of a stack.",
}


SHOWN = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Commands(click.Group):
    """Loads the one command that is asked for: nobody waits for the clients of the others."""

    def __init__(self, name: str, about: str | None, places: Mapping[str, str]) -> None:
        super().__init__(name, help=about, context_settings=SHOWN)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 as its base
        """Return the words that may come next."""
        return sorted({words.split()[0] for words in self._places})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 as its base
        """Return the command of this word, or the group of those that begin with it."""
        if place := self._places.get(cmd_name):
            module, _, function = place.partition(":")
            command: click.Command = getattr(import_module(f"operations.{module}"), function)
            return command
        below = {
            words.partition(" ")[2]: place for words, place in self._places.items() if words.startswith(f"{cmd_name} ")
        }
        return Commands(cmd_name, ABOUT[cmd_name], below) if below else None


main = Commands("operations", __doc__, COMMANDS)

if __name__ == "__main__":
    main(prog_name="operations")
