"""A release's environment: what the app is started with, one immutable JSON object per content."""

from typing import Any

from protocol.environment import content_hash
from provider.actions import ActionError, CheckResult, checked, report, text_problems
from provider.uploads.spaces_provider import ImmutableObjectProvider


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
