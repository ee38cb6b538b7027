"""Rules for Spaces: who may read across origins, and what keys open."""

from urllib.parse import urlsplit

from policy.resources import UNKNOWN, Resource, is_missing, items
from policy.rule import Problems, ResourceRule


def exact_origins(resource: Resource) -> Problems:
    """Refuse origins that stand for more than one site, or that anyone on the way can speak for."""
    for path, rule in resource.items("corsRules"):
        for place, origin in items(f"{path}.allowedOrigins", rule.get("allowedOrigins")):
            parts = urlsplit(origin)
            exact = parts.scheme == "https" and parts.netloc and origin == f"https://{parts.netloc}"
            if not exact or "*" in origin:
                yield f'{place}: must be an exact https origin, got "{origin}"'


def scoped_keys(resource: Resource) -> Problems:
    """Refuse grants for all Spaces of the account."""
    for path, grant in resource.items("grants"):
        if grant.get("permission") == "fullaccess":
            yield f'{path}.permission: must be read, write or readwrite of one Space, got "fullaccess"'
        elif grant.get("bucket") is not UNKNOWN and is_missing(grant.get("bucket")):
            yield f'{path}.bucket: must name one Space, got "{grant.get("bucket") or ""}"'


RULES = (
    ResourceRule(
        name="cors-exact-origins",
        kinds=("SpacesBucketCorsConfiguration", "SpacesBucket"),
        why="With a wildcard any site's scripts may read the objects as their visitors do.",
        fix="name the sites in storage.cors.origins, such as https://example.com",
        check=exact_origins,
    ),
    ResourceRule(
        name="spaces-key-scoped",
        kinds=("SpacesKey",),
        why="A key for the whole account on a Droplet opens every environment's Spaces, and their backups.",
        fix="grant the key only the Spaces that its holder uses",
        check=scoped_keys,
    ),
)
