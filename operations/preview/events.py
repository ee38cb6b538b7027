"""The engine's events of one preview, read into what changes, why, and what refuses it."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Verb = Literal["created", "updated", "replaced", "deleted", "forgotten"]

_VERBS: dict[str, Verb] = {
    "create": "created",
    "import": "created",
    "update": "updated",
    "replace": "replaced",
    "create-replacement": "replaced",
    "delete-replaced": "replaced",
    "delete": "deleted",
    "discard": "forgotten",
    "remove-pending-replace": "replaced",
}


class NotEventsError(ValueError):
    """The text is not what `pulumi preview` prints; the message says what to run."""


@dataclass(kw_only=True, slots=True)
class Change:
    """What becomes of one resource; inputs as the engine shows them, secrets masked by it."""

    verb: Verb
    kind: str  # the type without its package, such as "DatabaseCluster"
    name: str  # in the program
    reasons: tuple[str, ...] = ()  # inputs that force a replacement, or that differ
    deleted_first: bool = False  # of a replacement: there is none for a while
    old: Mapping[str, Any] = field(default_factory=dict)
    new: Mapping[str, Any] = field(default_factory=dict)


# How the program's own warnings begin; the engine's are of its plugins.
_OF_A_SETTING = re.compile(r"[a-z][A-Za-z.]*: ")


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """One resource of the stack, changed or not, as it is before or after."""

    package: str  # such as "digitalocean"
    kind: str
    name: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any] = field(default_factory=dict)  # as they were before; nothing of what is made anew


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """A rule of the policy pack that the change breaks."""

    rule: str
    message: str


@dataclass(kw_only=True, slots=True)
class Preview:
    """One preview of one stack."""

    stack: str = ""
    changes: list[Change] = field(default_factory=list)
    had: dict[str, Resource] = field(default_factory=dict)  # all resources before the change, by URN
    has: dict[str, Resource] = field(default_factory=dict)  # and after it
    violations: list[Violation] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)  # what the program says of the files that go into a release
    before: Mapping[str, Any] = field(default_factory=dict)  # the stack's outputs
    after: Mapping[str, Any] = field(default_factory=dict)
    ended: bool = False  # whether the engine came to its end

    def of(self, *kinds: str) -> list[Change]:
        """Return the changes of these kinds."""
        return [change for change in self.changes if change.kind in kinds]


def read(lines: Iterable[str]) -> Preview:
    """Read `PULUMI_ENABLE_STREAMING_JSON_PREVIEW=true pulumi preview --json`; raises NotEventsError.

    The events themselves are a secret: those for debugging hold secrets in plain. A report does not.
    """
    preview = Preview()
    by_urn: dict[str, Change] = {}
    number = 0
    for number, line in enumerate(filter(str.strip, lines), start=1):
        try:
            event = json.loads(line)
            known = "sequence" in event
        except (ValueError, TypeError):
            known = False
        if not known:
            raise NotEventsError(
                f"line {number}: must be an event of `pulumi preview --json` with "
                f"PULUMI_ENABLE_STREAMING_JSON_PREVIEW=true, got {line.strip()[:60]!r}; run that, or scripts/preview"
            )
        _take(preview, by_urn, event)
    if number == 0:
        raise NotEventsError("must have events of `pulumi preview --json`, got nothing; see what the preview said")
    return preview


def _take(preview: Preview, by_urn: dict[str, Change], event: dict[str, Any]) -> None:
    if "resourcePreEvent" in event:
        _step(preview, by_urn, event["resourcePreEvent"]["metadata"])
    elif "resOutputsEvent" in event:
        metadata = event["resOutputsEvent"]["metadata"]
        if metadata["type"] == "pulumi:pulumi:Stack":
            preview.stack = metadata["urn"].split(":")[2]
            preview.before = (metadata.get("old") or {}).get("outputs") or {}
            preview.after = (metadata.get("new") or {}).get("outputs") or {}
    elif "policyEvent" in event:
        found = event["policyEvent"]
        # The rule's reason is the first line, what is wrong the last.
        message = found["message"].strip().splitlines()[-1]
        preview.violations.append(Violation(rule=found["policyName"], message=message))
    elif "diagnosticEvent" in event:
        _say(preview, event["diagnosticEvent"])
    elif "summaryEvent" in event:
        preview.ended = True


def _say(preview: Preview, found: dict[str, Any]) -> None:
    text, severity = found["message"].rstrip(), found["severity"]
    # Events of the severity "debug" quote what a program and its plugins say to each other, secrets in plain.
    if not text or severity == "debug" or found.get("ephemeral"):
        return
    preview.log.append(text)
    if severity == "error":
        preview.errors.append(text.removeprefix("error: "))
    elif _kind(found.get("urn", "")) == "Artifact":
        preview.contents.append(text)
    elif severity == "warning" and _OF_A_SETTING.match(text):
        preview.warnings.append(" ".join(text.split()))


def _kind(urn: str) -> str:
    """Return a resource's type without its package, by its URN."""
    return urn.rpartition("::")[0].rpartition(":")[2]


def _step(preview: Preview, by_urn: dict[str, Change], metadata: dict[str, Any]) -> None:
    urn, op = metadata["urn"], metadata["op"]
    kind = metadata["type"].rpartition(":")[2]
    old, new = ((metadata.get(side) or {}).get("inputs") for side in ("old", "new"))
    had = (metadata.get("old") or {}).get("outputs") or {}
    if op in {"delete", "delete-replaced", "discard"}:
        new = None
    # Components have no change of their own, and the stack's outputs are not a resource.
    custom = any((metadata.get(side) or {}).get("custom") for side in ("old", "new"))
    verb = _VERBS.get(op)
    if not custom or kind.endswith("providers") or (verb is None and op != "same"):
        return
    has = {} if op in {"replace", "create-replacement"} else had
    for side, inputs, outputs in ((preview.had, old, had), (preview.has, new, has)):
        if inputs is not None:
            package = metadata["type"].partition(":")[0]
            name = urn.rpartition("::")[2]
            side[urn] = Resource(package=package, kind=kind, name=name, inputs=inputs, outputs=outputs)
    if verb is None:
        return
    preview.log.append(f"{op:18} {kind:28} {urn.rpartition('::')[2]}")
    change = by_urn.get(urn)
    if change is None:
        change = by_urn[urn] = Change(verb=verb, kind=kind, name=urn.rpartition("::")[2])
        preview.changes.append(change)
        change.deleted_first = op == "delete-replaced"
    change.verb = "replaced" if "replaced" in {change.verb, verb} else verb
    # What forces the replacement comes first, then what else differs.
    reasons = [*(metadata.get("keys") or ()), *(metadata.get("diffs") or ())]
    change.reasons = change.reasons or tuple(dict.fromkeys(reasons))
    change.old, change.new = change.old or old or {}, new or change.new
