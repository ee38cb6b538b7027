"""`python -m sandbox` is the command `sandbox`."""

from sandbox.command_line.cli import main

main()
