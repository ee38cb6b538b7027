"""Becomes nginx, after ending what one that was killed has left: its workers would keep the ports."""

import contextlib
import os
import signal
from pathlib import Path

import click


def end_others() -> None:
    """End every nginx in this network namespace: there is one."""
    here = Path("/proc/self/ns/net").readlink()
    for process in Path("/proc").glob("[0-9]*"):
        # Gone meanwhile, or about to go.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if (process / "comm").read_text() == "nginx\n" and (process / "ns/net").readlink() == here:
                os.kill(int(process.name), signal.SIGKILL)


@click.command()
@click.argument("configuration")
def main(configuration: str) -> None:
    """Run nginx with this file as its CONFIGURATION."""
    end_others()
    os.execvp("nginx", ["nginx", "-c", configuration, "-e", "stderr"])  # noqa: S606 - no shell wanted


if __name__ == "__main__":
    main()
