"""What the programs of a world have in common: how they are told of it, and where their log goes."""

import logging
import sys
from pathlib import Path

import click

home_option = click.option(
    "--home", type=click.Path(path_type=Path, file_okay=False), required=True, help="Directory of the world."
)


def log_to_output() -> None:
    """Write the log to the standard output, which the supervisor keeps."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stdout)
