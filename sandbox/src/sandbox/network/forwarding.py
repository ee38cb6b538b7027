"""Packet filters of this machine that forward nothing unasked, as Docker's does: rules that let the world out.

A packet passes only when every chain at the hook lets it, so an accept in a table of ours is not enough. nft sees the
tables of nft and iptables-nft; where iptables-legacy or a firewall of another kind drops, its own rule is needed.
"""

import json
import subprocess
from typing import Any

from sandbox.world.world import WorldError

COMMENT = "django-do"  # by which our rules are found again
FAMILIES = {"ip", "inet"}


class ForwardingError(WorldError):
    """The packet filter of this machine could not be changed; the text has nft's own words."""


def let_out(link: str, device: str) -> None:
    """Let packets through between the world's link and this machine's way out, in each chain that would drop them."""
    take_back()
    for family, table, chain in _dropping(_nft("-j", "list", "chains")):
        place = ("insert", "rule", family, table, chain)
        _nft(*place, "iifname", link, "oifname", device, "accept", "comment", f'"{COMMENT}"')
        answers = ("iifname", device, "oifname", link, "ct", "state", "established,related")
        _nft(*place, *answers, "accept", "comment", f'"{COMMENT}"')


def take_back() -> None:
    """Remove every such rule."""
    for item in _items(_nft("-j", "-a", "list", "ruleset")):
        rule = item.get("rule")
        if rule and rule.get("comment") == COMMENT:
            _nft("delete", "rule", rule["family"], rule["table"], rule["chain"], "handle", str(rule["handle"]))


def _dropping(listed: str) -> list[tuple[str, str, str]]:
    """Chains at the forward hook whose policy is to drop: family, table and name."""
    chains = [item["chain"] for item in _items(listed) if "chain" in item]
    return [
        (chain["family"], chain["table"], chain["name"])
        for chain in chains
        if chain["family"] in FAMILIES and chain.get("hook") == "forward" and chain.get("policy") == "drop"
    ]


def _items(listed: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(listed)["nftables"]
    return items


def _nft(*words: str) -> str:
    done = subprocess.run(["nft", *words], check=False, capture_output=True, text=True)
    if done.returncode:
        raise ForwardingError(f"`nft {' '.join(words)}` failed with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
