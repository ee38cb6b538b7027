"""Prints docs/policy.md: every rule of the policy pack, from the pack itself."""

import click

from policy.pack import RULES
from policy.rule import ResourceRule, Rule

HEAD = """\
# Policy

Made by `make policy-docs` from [policy/](../policy), the rules that every stack must keep to. They hold for what is
planned, whoever changed the program or the settings: a preview with the pack names each violation by path, rule, value
and fix, and fails.
```sh cloud
pulumi preview -s dev --policy-pack policy/run
pulumi up -s dev --policy-pack policy/run
```
In the sandbox, which `make preview` does for all stacks:
```sh tested
scripts/stack local preview --policy-pack policy/run
```
- All rules are mandatory. Those for production hold where the stack's output `production` is true, which is the setting
  of that name; a stack without this output is refused.
- *Resource* rules are checked before a resource is made or changed, in `pulumi up` too. *Stack* rules look at
  everything together, at the end: before anything is done in a preview, but after it in `pulumi up --skip-preview`.
- What can't be known yet breaks no rule. It is looked at when it is known: user data, for example, just before its
  Droplet is made.
- Secrets that a rule finds are named, never shown. "The agent's key" is the `SpacesKey` whose name ends in
  `-agent-key`. Values below 8 characters, and those that are encoded in other ways than for a URL, JSON or Base64, are
  not found.
- A rule that does not fit is switched off by its name, in a file that says `{"tagged": "disabled"}` and is given as
  `--policy-pack-config`; "advisory" only reports.
- `policy/run` is an executable that the CLI starts itself; the folder `policy` as the pack's path needs Pulumi's
  official language host.

| Rule | Checked | Looks at | Why | How to fix it |
|---|---|---|---|---|
"""


def page() -> str:
    """Return the page in Markdown."""
    return HEAD + "\n".join(row(rule) for rule in RULES) + "\n"


def row(rule: Rule) -> str:
    """Return a rule's line of the table."""
    checked = "resource" if isinstance(rule, ResourceRule) else "stack, in production" if rule.production else "stack"
    kinds = ", ".join(f"`{kind}`" for kind in rule.kinds)
    return f"| `{rule.name}` | {checked} | {kinds} | {rule.why} | {rule.fix} |"


@click.command()
def docs() -> None:
    """Print docs/policy.md: every rule of the policy pack, from the pack itself."""
    click.echo(page(), nl=False)
