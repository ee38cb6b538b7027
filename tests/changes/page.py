"""docs/changes.md, made of what the changes did."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from operations.preview.events import Preview
from operations.preview.meaning import MEANINGS, meaning
from tests.changes.settings import Change, Outcome

HEAD = """\
# What a change of each setting does

Made by `make changes-docs`, which deploys the stack `local` with the real engine against the sandbox's API, changes one
setting after the other, and asks the site and the database without a pause meanwhile. [A test](../tests/changes) does
the same (`make prove`; `make test` with one setting for each outcome), and fails when something else happens or when
`make preview` would have said something else.
- *Nothing*: at most an output of the stack. *Update in place*: nobody noticed. *Release*: as after new code.
- *Outage*: for how long requests were not answered here, where machines and clusters are small and quick. DigitalOcean
  takes longer to resize a Droplet (it is off meanwhile) or a cluster (which it copies first, and then changes over).
- **Data loss**: refused with `protect: true`, which is the default. [The runbook](runbook.md#change) says what to do
  instead.
- Refused: `pulumi preview` says why.

| Setting | What happens | To what | Remarks |
|---|---|---|---|
"""
PHRASES: dict[Outcome, str] = {
    "nothing": "nothing",
    "update in place": "update in place",
    "release": "a release, no downtime",
    "replacement without downtime": "a new Droplet, no downtime",
    "outage": "**outage** of {seconds} s",
    "data loss": "**data loss**",
    "refused": "refused",
}
LISTED = 3  # kinds of resources in a cell; more are summed up


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One change, and what became of it."""

    change: Change
    what: str  # the resources' nouns with verbs
    seconds: int = 0

    @classmethod
    def of(cls, change: Change, preview: Preview, seconds: int) -> "Row":
        """A change that was made."""
        # In one order: the engine does several things at once.
        known = sorted(preview.changes, key=lambda found: (list(MEANINGS).index(found.kind), found.verb))
        listed = list(dict.fromkeys(f"{meaning(found).noun} {found.verb}" for found in known))
        if len(listed) > LISTED + 1:
            listed = [*listed[:LISTED], f"and {len(listed) - LISTED} others"]
        return cls(change=change, what=", ".join(listed), seconds=seconds)

    def line(self) -> str:
        """The row in Markdown."""
        phrase = PHRASES[self.change.outcome].format(seconds=self.seconds or "some")
        names = ", ".join(f"`{path}`" for path in self.change.settings)
        return f"| {names} | {phrase} | {self.what} | {self.change.note} |\n"


def page(rows: Sequence[Row]) -> str:
    """The page as it should be."""
    return HEAD + "".join(row.line() for row in rows)


def without_seconds(text: str) -> str:
    """The page without what differs from run to run."""
    return re.sub(r"outage\*\* of \d+ s", "outage** of … s", text)
