"""Managed PostgreSQL: machines of its own in a full world, local servers at depth `api`."""
