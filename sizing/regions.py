"""Where things can be."""

# Regions with Spaces (the provider's list) and Managed PostgreSQL (DigitalOcean's OpenAPI), as of November 2026.
REGIONS = ("ams3", "atl1", "blr1", "fra1", "lon1", "nyc3", "sfo2", "sfo3", "sgp1", "syd1", "tor1")


def spaces_endpoint(region: str) -> str:
    """Return the address of a region's Spaces."""
    return f"https://{region}.digitaloceanspaces.com"
