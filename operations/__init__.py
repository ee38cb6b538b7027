"""What people and workflows do with a stack beside `pulumi up`: one command, one file."""
