"""How a secret may be written in a text: one rule for the pack, for `operations secrets check` and for Droplets."""

import base64
import json
from html import escape
from urllib.parse import quote, quote_plus

SHORTEST = 8  # characters; anything shorter may be in a text by chance
AS_GO_DOES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}  # in JSON


def forms(secret: str) -> set[str]:
    """Return how a secret may be written: as it is, in a URL, in HTML, by repr, in JSON once and twice, in Base64."""
    written = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), escape(secret), repr(secret)[1:-1]}
    readable = json.dumps(secret, ensure_ascii=False)[1:-1]
    for in_json in (json.dumps(secret)[1:-1], readable, readable.translate(AS_GO_DOES)):
        written |= {in_json, json.dumps(in_json, ensure_ascii=False)[1:-1]}
    for before in range(3):
        encoded = base64.b64encode(b"x" * before + secret.encode()).decode().rstrip("=")
        # Without the characters that hold bits of the neighbours, too.
        written.add(encoded[(before * 8 + 5) // 6 : -1])
    if "PRIVATE KEY-----" in secret:  # displays indent each line of a text
        written.add(max(secret.splitlines(), key=len))
    return written


def holds(text: str, secret: str) -> bool:
    """Tell whether a text has a secret in it, in any of these forms."""
    return any(form in text for form in forms(secret))
