"""DigitalOcean's API: routes, checks, errors, limits and faults."""
