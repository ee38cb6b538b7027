"""What the program and an app owe each other: the environment that an app gets (app/README.md)."""
