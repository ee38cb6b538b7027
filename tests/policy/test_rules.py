"""Each rule, by the real engine: what breaks it is refused, what stands beside it is not."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from policy.pack import RULES
from sizing.editions import WAYS_OUT, beyond_a_new_cluster
from tests.commands import PATH, ROOT

HERE = Path(__file__).parent
PACK = ROOT / "policy" / "run"

Preview = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def preview(tmp_path_factory: pytest.TempPathFactory) -> Preview:
    """Preview one of the program's stacks with the pack, against a provider that accepts everything."""
    backend = tmp_path_factory.mktemp("backend")
    environment = os.environ | {
        "PATH": os.pathsep.join([str(HERE / "plugin"), PATH]),
        "PULUMI_BACKEND_URL": f"file://{backend}",
        "PULUMI_CONFIG_PASSPHRASE": "policy",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }

    def run(stack: str, *argv: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path_factory.mktemp(stack)
        for name in ("Pulumi.yaml", "__main__.py"):
            (folder / name).write_text((HERE / "program" / name).read_text())
        commands = (
            ["stack", "init", stack, "--non-interactive"],
            ["preview", "--stack", stack, "--non-interactive", "--color=never", "--policy-pack", str(PACK), *argv],
        )
        for command in commands:
            done = subprocess.run(
                ["pulumi", *command], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
        return done

    return run


def violations(done: subprocess.CompletedProcess[str]) -> set[str]:
    """What the engine reported as a mandatory violation: rule and resource."""
    found = re.findall(r"^ +- \[(\w+)\] +(\S+) +\(\S+: (\S+)\)$", done.stdout, re.MULTILINE)
    assert {level for level, _, _ in found} <= {"mandatory"}
    return {f"{rule} {resource}" for _, rule, resource in found}


BROKEN = {
    "cors-exact-origins bad-cors",
    "cors-exact-origins bad-cors-of-bucket",
    "cors-exact-origins bad-cors-plain",
    "cors-exact-origins bad-cors-subdomains",
    "database-closed bad-trusted-empty",
    "database-closed bad-trusted-everywhere",
    "database-closed bad-trusted-halves",
    "database-closed bad-trusted-ipv6",
    "database-has-trusted-sources bad-db-open",
    "database-new-cluster bad-db-new-large",
    "database-new-cluster bad-db-new-standby",
    "database-in-vpc bad-db-public",
    "droplet-behind-firewall bad-droplet-naked",
    "droplet-behind-firewall bad-droplet-untagged",
    "pool-own-user bad-pool-admin",
    "pool-own-user bad-pool-nobody",
    "pool-transaction-mode bad-pool-session",
    "pool-within-plan bad-db-crowded",
    "production-alerts cases-violating",
    "production-backups bad-droplet-no-backups",
    "production-protect bad-address",
    "production-protect bad-db-unprotected",
    "production-protect bad-domain",
    "production-protect bad-media",
    "production-standby bad-db-single",
    "spaces-key-scoped bad-key-everywhere",
    "spaces-key-scoped bad-key-full",
    "ssh-not-public bad-firewall-22",
    "ssh-not-public bad-firewall-all",
    "ssh-not-public bad-firewall-halves",
    "ssh-not-public bad-firewall-no-range",
    "ssh-not-public bad-firewall-range",
    "tagged bad-db-untagged",
    "tagged bad-droplet-untagged",
    "user-data-no-secrets bad-data-app-key",
    "user-data-no-secrets bad-data-password",
    "user-data-no-secrets bad-data-setting",
    "user-data-no-tokens bad-data-pem",
    "user-data-no-tokens bad-data-token",
    "user-data-no-tokens bad-data-uri",
    "user-data-size bad-data-large",
}
SILENT = {"production-known cases-silent"}


def test_every_rule_is_broken_here() -> None:
    """No rule is in the pack without a stack that the engine refuses for it."""
    assert {found.split()[0] for found in BROKEN | SILENT} == {rule.name for rule in RULES}


def test_what_breaks_a_rule_is_refused_and_nothing_else(preview: Preview) -> None:
    """Exactly the resources named bad, each for its own rule; no secret's value is in what the engine prints."""
    done = preview("violating")
    assert violations(done) == BROKEN
    assert done.returncode != 0
    printed = done.stdout + done.stderr
    for secret in ("made-password-of", "made-secret-key-of", "of-the-settings", "dop_v1_", "hunter2", "BEGIN RSA"):
        assert secret not in printed


def test_rules_are_switched_off_by_name_alone(preview: Preview, tmp_path: Path) -> None:
    """Each rule stands for itself: without every second one, what is left is what the others refuse."""
    off = {rule.name for rule in RULES[::2]}
    config = tmp_path / "policy.json"
    config.write_text(json.dumps(dict.fromkeys(off, "disabled")))
    left = {found for found in BROKEN if found.split()[0] not in off}
    assert violations(preview("violating", "--policy-pack-config", str(config))) == left


def test_a_production_stack_that_lacks_nothing_passes(preview: Preview) -> None:
    """Neighbours of every rule's border, and values that a preview can't know, are neither violations nor warnings."""
    done = preview("passing")
    assert (violations(done), done.returncode) == (set(), 0), done.stdout + done.stderr
    assert "✅ django-do@" in done.stdout
    assert "can't run policy" not in done.stdout + done.stderr


def test_rules_for_production_hold_in_production_only(preview: Preview) -> None:
    """One node, no backups, no alerts: fine where the stack says `production: false`."""
    done = preview("modest")
    assert (violations(done), done.returncode) == (set(), 0), done.stdout + done.stderr


def test_what_is_accepted_breaks_no_rule(preview: Preview) -> None:
    """One node in production, and a new cluster that is larger: by the stack's own word."""
    done = preview("accepting")
    assert (violations(done), done.returncode) == (set(), 0), done.stdout + done.stderr


def test_the_pack_refuses_a_new_cluster_in_the_words_of_the_program(preview: Preview) -> None:
    """Rule and ways out are those of the preview; the path is the resource's."""
    printed = " ".join(preview("violating").stdout.split())
    beyond = beyond_a_new_cluster("pg", 8, 2)
    for (_, rule), (name, got) in zip(beyond, [("size", '"db-s-4vcpu-8gb"'), ("nodeCount", "2")], strict=True):
        assert " ".join(f"bad-db-new-large.{name}: {rule}, got {got}; {WAYS_OUT}".split()) in printed


def test_a_stack_says_whether_it_is_production(preview: Preview) -> None:
    """The rules for production can't be lost by not saying it."""
    done = preview("silent")
    assert violations(done) == SILENT
    assert done.returncode != 0
