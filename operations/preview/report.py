"""The report of a preview, in Markdown: the worst first, then what changes, then the log."""

import re
from collections import Counter
from collections.abc import Iterator

from operations.preview import cost
from operations.preview.effect import Effect, Level, because
from operations.preview.events import Change, Preview
from operations.preview.meaning import ACCEPTED, PARTS, effects, meaning

HEADLINES = {
    Level.DATA_LOSS: "DATA LOSS",
    Level.OUTAGE: "an outage",
    Level.CARE: "to be done with care",
    Level.NOTE: "no downtime",
}
# What the engine says beside the reason itself.
UNSPECIFIC = (
    "an unhandled error occurred: program exited",
    "preview failed",
    "Resource monitor has terminated, shutting down",
)
# What it puts before the words of the program's own refusals.
REFUSED_BY_HOOK = re.compile(r'(?:Preview failed: )?before hook "[^"]*" failed: ')
# What is longer than this is counted instead of listed: a whole environment, made or destroyed.
LISTED = 30


def markdown(preview: Preview, *, with_log: bool = True) -> str:
    """Return the report, ending with a line break; the log may be left out where another one is shown."""
    found = effects(preview)
    worst = [
        f"- **{effect.level.name.replace('_', ' ')}**: {effect.text}." for effect in found if effect.level < Level.NOTE
    ]
    notes = [f"- {effect.text[0].upper()}{effect.text[1:]}." for effect in found if effect.level == Level.NOTE]
    log = ["<details><summary>The engine's log</summary>", "", *_fenced(preview.log), "", "</details>"]
    sections = (
        [f"### `{preview.stack or 'unknown'}`: {_headline(preview, found)}"],
        [*_refusals(preview), *worst, *(f"- **WARNING**: {text}" for text in preview.warnings), *notes],
        [*_changes(preview.changes)],
        [*_contents(preview)],
        [*_accepted(preview)],
        [*_budget(preview)],
        # What a change that is refused, or was not seen to its end, would cost is not known.
        [*cost.lines(preview)] if preview.ended and not preview.errors and not preview.violations else [],
        log if preview.log and with_log else [],
    )
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def _headline(preview: Preview, found: list[Effect]) -> str:
    if preview.errors or preview.violations or not preview.ended:
        return "**refused**" if preview.errors or preview.violations else "**the preview did not come to its end**"
    if not preview.changes:
        return "nothing changes"
    counts = Counter(change.verb for change in preview.changes)
    summary = ", ".join(f"{count} {verb}" for verb, count in sorted(counts.items()))
    if not found:
        return summary
    worst = HEADLINES[min(effect.level for effect in found)]
    return f"**{worst}** ({summary})" if found[0].level < Level.NOTE else f"{summary}; {worst}"


def _refusals(preview: Preview) -> Iterator[str]:
    for violation in preview.violations:
        yield f"- **REFUSED** by the rule `{violation.rule}`: {violation.message}"
    for error in preview.errors:
        if refused := REFUSED_BY_HOOK.match(error):
            yield from (f"- **REFUSED**: {line}" for line in error[refused.end() :].splitlines())
            continue
        # With violations the engine's own error says only that there are some; a program that ended is said by its
        # reason.
        if preview.violations or (error.startswith(UNSPECIFIC) and len(preview.errors) > 1):
            continue
        yield "- **ERROR**:"
        yield from (f"  {line}" for line in _fenced(error.splitlines()))


def _changes(changes: list[Change]) -> Iterator[str]:
    if not changes:
        return
    by_part: dict[str, list[Change]] = {part: [] for part in PARTS}
    for change in changes:
        by_part[meaning(change).part].append(change)
    for part, of_part in by_part.items():
        if not of_part:
            continue
        if len(changes) > LISTED:
            counts = Counter((change.verb, meaning(change).noun) for change in of_part)
            yield f"- {part}: " + ", ".join(f"{count} x {noun} {verb}" for (verb, noun), count in counts.items())
        else:
            yield f"- {part}:"
            yield from (f"  - {change.verb} {meaning(change).noun} `{change.name}`{_why(change)}" for change in of_part)


def _why(change: Change) -> str:
    return f" ({because(change)})" if change.verb in {"updated", "replaced"} and change.reasons else ""


def _contents(preview: Preview) -> Iterator[str]:
    """Say which files go into a release: what is left out is noticed here, and not on the site."""
    if preview.contents:
        yield "Files:"
        # Names of files are anybody's words.
        yield from _fenced(preview.contents)


def _accepted(preview: Preview) -> Iterator[str]:
    """Name, each time, what the user has accepted by a setting."""
    accepted = preview.after.get("accepted")
    if accepted:
        yield "Accepted:"
        yield from (f"- `{path}`: {ACCEPTED[path]}" for path in accepted)


def _budget(preview: Preview) -> Iterator[str]:
    after, before = (outputs.get("connection_budget") for outputs in (preview.after, preview.before))
    if not isinstance(after, dict):
        return
    yield "Database connections:"
    for line in ("supply", "demand", "limit"):
        was = before.get(line) if isinstance(before, dict) else None
        yield f"- {after[line]}" + (f" (was: {was})" if was and was != after[line] else "")


def _fenced(lines: list[str]) -> Iterator[str]:
    text = "\n".join(lines)
    fence = "```"
    while fence in text:  # what is quoted must not end the quotation
        fence += "`"
    yield f"{fence}text"
    yield from text.splitlines()
    yield fence
