"""A release's environment: what the app is started with, one immutable JSON object per content."""

import hashlib
from collections.abc import Mapping
from typing import Any

from provider.actions import ActionError, CheckResult, checked, json_bytes, report, text_problems
from provider.spaces_provider import ImmutableObjectProvider

TEXTS = ("wsgi",)
MAPPINGS = ("env", "release_env")
OPTIONAL_TEXTS = ("database_ca", "python")


class EnvironmentProvider(ImmutableObjectProvider):
    """Upload a canonical document."""

    folder = "environments"
    digest = "hash"

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse inputs that cannot be an environment."""
        return checked(news, text_problems(news, "environment", "bucket", "region", "document", "hash", "key"))

    def upload(self, props: dict[str, Any]) -> dict[str, Any]:
        """Upload it and return what describes it."""
        body = props["document"].encode()
        if content_hash(props["document"]) != props["hash"]:
            raise ActionError("environment.hash: must be the document's SHA-256; this is a mistake in the program")
        spaces = self.spaces(props["region"])
        if not spaces.exists(props["bucket"], props["key"]):
            report(f"uploading {props['key']}, {len(body)} bytes")
            spaces.put(props["bucket"], props["key"], body, "application/json")
        # Not the document: outputs are read by more people than inputs, and nothing needs it there.
        return {name: props[name] for name in ("bucket", "region", "hash", "key")}


def canonical(document: Mapping[str, Any]) -> str:
    """Return the document as it is stored, after all of its problems were reported by path, without a value."""
    problems = [
        f"environment.{name}: unknown, the document has {', '.join(TEXTS + MAPPINGS + OPTIONAL_TEXTS)}"
        for name in sorted(document.keys() - {*TEXTS, *MAPPINGS, *OPTIONAL_TEXTS})
    ]
    given = [name for name in OPTIONAL_TEXTS if name in document]
    problems += text_problems(document, "environment", *TEXTS, *given)
    for name in MAPPINGS:
        mapping = document.get(name)
        if not isinstance(mapping, Mapping):
            problems.append(f"environment.{name}: must be a mapping of texts, got {type(mapping).__name__}")
            continue
        problems += [
            f"environment.{name}.{variable}: {rule}"
            for variable, value in sorted(mapping.items())
            for rule in _broken_rules(variable, value)
        ]
    if problems:
        raise ActionError("\n".join(problems))
    return json_bytes(document).decode()


def _broken_rules(variable: str, value: object) -> list[str]:
    """Report what is wrong with one variable."""
    rules = []
    if not variable or "=" in variable or not variable.isprintable():
        rules.append("must be a name without `=`; rename the variable")
    if not isinstance(value, str):
        rules.append(f"must be a text, got {type(value).__name__}; put it in quotes")
    elif "\0" in value:
        rules.append("must not hold a NUL character, no process could get it; encode the value")
    return rules


def content_hash(text: str) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def environment_key(content: str) -> str:
    """Return the object's key for a hash."""
    return f"environments/{content}.json"
