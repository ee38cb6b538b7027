"""What the benchmark makes is said, priced and wanted before it is made, and is told from everything else."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import yaml
from click.testing import CliRunner

from operations.benchmark import clean, client, pool, rig
from operations.benchmark.account import BenchmarkError
from operations.benchmark.rig import Order

NOWHERE = {"DIGITALOCEAN_TOKEN": "dop_v1_secret", "DIGITALOCEAN_API_URL": "http://127.0.0.1:9"}
ORDER = Order(name="n", region="nyc3", plan="db-s-2vcpu-4gb", client="s-2vcpu-4gb", pool_size=97)


def test_the_price_is_of_started_hours() -> None:
    """As DigitalOcean bills: a month's price by 672 hours, of cluster and client."""
    hour = (Decimal("60.90") + Decimal("24.00")) / 672
    assert pool.price("db-s-2vcpu-4gb", "s-2vcpu-4gb", 60) == hour.quantize(Decimal("0.01"))
    assert pool.price("db-s-2vcpu-4gb", "s-2vcpu-4gb", 3601) == (2 * hour).quantize(Decimal("0.01"))


def test_a_price_that_is_not_known_is_not_nothing() -> None:
    """It says so."""
    assert pool.price("db-amd-2vcpu-4gb", "s-2vcpu-4gb", 60) is None
    order = Order(name="n", region="nyc3", plan="db-amd-2vcpu-4gb", client="s-2vcpu-4gb", pool_size=97)
    assert "what it costs is unknown" in pool.announcement(order, 60)


def test_what_is_made_is_said_before() -> None:
    """What, for how long, for how much, and that it goes again."""
    text = pool.announcement(ORDER, 2700)
    for part in ("db-s-2vcpu-4gb", "pool of 97", "s-2vcpu-4gb", "45 min", "$0.13", "1 started hour,", "is removed"):
        assert part in text


def test_without_a_terminal_it_must_be_wanted_by_an_option() -> None:
    """Nothing is asked of the account, which nobody answers here."""
    done = CliRunner().invoke(pool.command, [], env=NOWHERE)
    assert done.exit_code == 1
    assert "add --yes" in done.output
    assert "costs about $0." in done.output


def test_an_account_that_does_not_answer_is_named() -> None:
    """Without its token."""
    for command in (pool.command, clean.command):
        done = CliRunner().invoke(command, ["--yes"], env=NOWHERE)
        assert done.exit_code == 1
        assert "http://127.0.0.1:9 gives no answer" in done.output
        assert "dop_v1_secret" not in done.output


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (
            ["--plan", "db-s-2vcpu-5gb"],
            '--plan: must be a PostgreSQL plan such as db-s-2vcpu-4gb, got "db-s-2vcpu-5gb"',
        ),
        (["--client", "s-3vcpu-1gb"], '--client: must be a Droplet\'s size such as s-2vcpu-4gb, got "s-3vcpu-1gb"'),
    ],
)
def test_what_can_not_be_ordered_is_refused(options: list[str], rule: str) -> None:
    """Before anything is said of it."""
    done = CliRunner().invoke(pool.command, options, env=NOWHERE)
    assert done.exit_code == 1
    assert done.output.strip().endswith(rule)


def test_without_a_token_it_says_which() -> None:
    """Both names of it are empty."""
    empty = {"DIGITALOCEAN_TOKEN": "", "DIGITALOCEAN_ACCESS_TOKEN": ""}
    done = CliRunner().invoke(pool.command, ["--yes"], env=empty)
    assert "DIGITALOCEAN_TOKEN: must be set" in done.output


def test_a_name_says_when_its_run_is_over() -> None:
    """So that what was left is told from what goes on."""
    until = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(hours=2)
    name = rig.new_name(until)
    assert rig.expires(name) == until
    assert rig.new_name(until) != name


@pytest.mark.parametrize("name", ["polls-prod", "django-do-benchmark", "django-do-benchmark-202611301200-abcdef-2", ""])
def test_nothing_else_is_removed(name: str) -> None:
    """Whatever it is called; nothing is asked before."""
    with pytest.raises(BenchmarkError, match="tag: must be of a benchmark"):
        rig.remove(None, name, print)  # type: ignore[arg-type]


def test_the_client_has_the_host_key_that_the_login_expects() -> None:
    """And pgbench of the cluster's version, without a server of its own."""
    config = yaml.safe_load(client.user_data("private\n", "ssh-ed25519 AAAA"))
    assert config["ssh_keys"] == {"ed25519_private": "private\n", "ed25519_public": "ssh-ed25519 AAAA"}
    assert config["packages"] == ["postgresql-17", "python3-psycopg"]
    assert config["write_files"][0]["content"] == "create_main_cluster = false\n"
    assert config["ssh_pwauth"] is False
