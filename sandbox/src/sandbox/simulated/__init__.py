"""What depth `api` has in place of machines."""
