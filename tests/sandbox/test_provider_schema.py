import inspect
import re
import warnings
from pathlib import Path
from typing import Any

import digitalocean_provider.resources
import pytest
from digitalocean_provider import schema
from digitalocean_provider.resources import resource
from digitalocean_provider.schema import COMPUTED, DEFAULTS, REQUIRED, Change, Failure, Naming, Schema

from plugin_base.wire import UNKNOWN, Secret

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the SDK warns of its own functions when it is imported
    import pulumi_digitalocean

FOLDER = Path(digitalocean_provider.resources.__file__).parent
CLASSES = sorted(
    "".join(word.capitalize() for word in path.stem.split("_")) for path in FOLDER.glob("*.py") if path.stem[0] != "_"
)
NAMING = Naming(resource="net", seed=bytes.fromhex("a1b2c3d4e5f6"))


def schema_of(class_: str) -> Schema:
    """The schema of a class of pulumi-digitalocean."""
    return resource(f"digitalocean:index/{class_[0].lower()}{class_[1:]}:{class_}").SCHEMA


def camel(name: str) -> str:
    """The property that the SDK's Python name stands for."""
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


def sdk_inputs(class_: str) -> dict[str, inspect.Parameter]:
    """The arguments that the SDK has for a resource, by property."""
    parameters = inspect.signature(getattr(pulumi_digitalocean, f"{class_}Args")).parameters
    return {camel(name): parameter for name, parameter in parameters.items()}


VPC, DROPLET, FIREWALL, RECORD = (schema_of(name) for name in ("Vpc", "Droplet", "Firewall", "DnsRecord"))
POOL, CLUSTER, TRUSTED = (
    schema_of("DatabaseConnectionPool"),
    schema_of("DatabaseCluster"),
    schema_of("DatabaseFirewall"),
)


@pytest.mark.parametrize("class_", CLASSES)
class TestAgainstTheSdk:
    """The tables say what pulumi-digitalocean, which is generated from the official plugin's schema, says."""

    def test_the_type_is_the_sdks(self, class_: str) -> None:
        """Another token would be another resource."""
        assert getattr(pulumi_digitalocean, class_).pulumi_type == schema_of(class_).type_name

    def test_inputs_exist_in_the_sdk(self, class_: str) -> None:
        """No property is made up."""
        assert set() == set(schema_of(class_).inputs) - set(sdk_inputs(class_))

    def test_outputs_exist_in_the_sdk(self, class_: str) -> None:
        """What a program can't read is not sent."""
        class_of_resource = getattr(pulumi_digitalocean, class_)
        outputs = {camel(name) for name, value in vars(class_of_resource).items() if isinstance(value, property)}

        assert set() == set(schema_of(class_).fields) - outputs

    def test_required_inputs_are_required_here(self, class_: str) -> None:
        """What the SDK lets nobody omit may not be missing here either."""
        required = {name for name, parameter in sdk_inputs(class_).items() if parameter.default is parameter.empty}
        here = {name for name, field in schema_of(class_).fields.items() if field.role is REQUIRED}

        assert set() == required - here

    def test_secret_outputs_are_the_sdks(self, class_: str) -> None:
        """The SDK asks for encryption of the same outputs."""
        source = inspect.getsource(inspect.getmodule(getattr(pulumi_digitalocean, class_)))  # type: ignore[arg-type]
        found = re.search(r"additional_secret_outputs=\[([^\]]*)\]", source)
        theirs = set(re.findall(r'"(\w+)"', found[1])) if found else set()
        ours = {name for name, field in schema_of(class_).fields.items() if field.secret}

        assert ours == theirs & set(schema_of(class_).fields)


def checked(
    kind: Schema, news: dict[str, Any], olds: dict[str, Any] | None = None, naming: Naming = NAMING
) -> dict[str, Any]:
    """Inputs after a check that finds nothing wrong."""
    inputs, failures = schema.check(kind, olds or {}, news, naming)
    assert failures == []
    return inputs


class TestCheck:
    """Names, defaults and validation."""

    def test_an_automatic_name_has_seven_hexadecimal_digits(self) -> None:
        """As the official plugin's: the resource's name and the engine's seed."""
        assert checked(VPC, {"region": "nyc3"})["name"] == "net-a1b2c3d"

    def test_an_automatic_name_is_kept_on_update(self) -> None:
        """Another seed comes with each run; the name must not follow it."""
        olds = checked(VPC, {"region": "nyc3"})
        again = Naming(resource="net", seed=b"\xff" * 8)

        assert checked(VPC, {"region": "nyc3"}, olds, again)["name"] == "net-a1b2c3d"

    def test_an_explicit_name_that_is_removed_becomes_automatic(self) -> None:
        """The old name was the program's, so it isn't kept."""
        olds = checked(VPC, {"region": "nyc3", "name": "mine"})

        assert checked(VPC, {"region": "nyc3"}, olds)["name"] == "net-a1b2c3d"

    def test_the_engines_proposal_goes_first(self) -> None:
        """The setting pulumi:autonaming decides."""
        naming = Naming(resource="net", seed=b"x", proposed="zz-net")

        assert checked(VPC, {"region": "nyc3"}, naming=naming)["name"] == "zz-net"

    def test_without_automatic_names_a_name_is_required(self) -> None:
        """pulumi:autonaming can be switched off."""
        naming = Naming(resource="net", seed=b"x", disabled=True)

        assert [failure.property for failure in schema.check(VPC, {}, {"region": "nyc3"}, naming)[1]] == ["name"]

    def test_defaults_are_filled_in_and_remembered(self) -> None:
        """`__defaults` tells them from the program's own."""
        inputs = checked(DROPLET, {"image": "debian-13-x64", "size": "s-1vcpu-1gb", "backups": True})

        assert (
            inputs["backups"],
            inputs["resizeDisk"],
            inputs[DEFAULTS],
        ) == (True, True, ["gracefulShutdown", "ipv6", "monitoring", "name", "resizeDisk"])

    @pytest.mark.parametrize(
        ("news", "wrong"),
        [
            ({}, "region"),
            ({"region": "nyc3", "vpcUrn": "x"}, "vpcUrn"),
            ({"region": "nyc3", "colour": "x"}, "colour"),
            ({"region": "nyc3", "description": "x" * 256}, "description"),
        ],
    )
    def test_a_wrong_input_is_named(self, news: dict[str, Any], wrong: str) -> None:
        """The failure has the property's path."""
        assert [wrong] == [failure.property for failure in schema.check(VPC, {}, news, NAMING)[1]]

    def test_an_unsupported_member_of_a_rule_is_named(self) -> None:
        """Nothing that a program says is dropped silently."""
        rules = [{"protocol": "tcp", "action": "drop"}]
        failures = schema.check(FIREWALL, {}, {"inboundRules": rules}, NAMING)[1]

        assert [failure.property for failure in failures] == ["inboundRules[0].action"]

    @pytest.mark.parametrize(
        ("autoscale", "wrong"),
        [
            ({"thresholdPercent": 80}, ["storageAutoscale.enabled"]),
            ({"enabled": True, "thresholdPercent": 14}, ["storageAutoscale.thresholdPercent"]),
            ({"enabled": True, "thresholdPercent": 96}, ["storageAutoscale.thresholdPercent"]),
            ({"enabled": True, "incrementGib": 9}, ["storageAutoscale.incrementGib"]),
            ({"enabled": True, "maxGib": 100}, ["storageAutoscale.maxGib"]),
            ({"enabled": True, "thresholdPercent": 15, "incrementGib": 1000}, []),
        ],
    )
    def test_the_growth_of_a_disk_is_judged(self, autoscale: dict[str, Any], wrong: list[str]) -> None:
        """As the official plugin judges it before the API is asked."""
        news = {"name": "n", "engine": "pg", "version": "17", "size": "s", "region": "r", "nodeCount": 1}
        failures = schema.check(CLUSTER, {}, news | {"storageAutoscale": autoscale}, NAMING)[1]

        assert [failure.property for failure in failures] == wrong

    def test_unknown_inputs_are_not_judged(self) -> None:
        """A mode that is an output of another resource is only known in `up`."""
        news = {"clusterId": UNKNOWN, "dbName": UNKNOWN, "mode": UNKNOWN, "size": UNKNOWN, "name": UNKNOWN}

        assert checked(POOL, news)["mode"] is UNKNOWN

    def test_a_choice_is_checked(self) -> None:
        """The text has the choices and the value."""
        news = {"clusterId": "c", "dbName": "d", "mode": "tx", "size": 5, "name": "app"}

        assert [Failure("mode", "must be one of session, transaction, statement, got 'tx'")] == schema.check(
            POOL, {}, news, NAMING
        )[1]


def kinds(
    kind: Schema, old: dict[str, Any], new: dict[str, Any], state: dict[str, Any] | None = None
) -> dict[str, str]:
    """The kinds of changes between two sets of inputs."""
    return {name: change.kind for name, change in schema.diff(kind, state or {}, old, new).items()}


class TestDiff:
    """What changes, and whether in place."""

    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            ({"description": "a"}, {"description": "b"}, {"description": "UPDATE"}),
            ({"description": "a"}, {}, {"description": "DELETE"}),
            ({}, {"description": "b"}, {"description": "ADD"}),
            ({}, {"description": ""}, {}),
            ({"region": "nyc3"}, {"region": "fra1"}, {"region": "UPDATE_REPLACE"}),
            ({"ipRange": "10.0.0.0/20"}, {}, {}),
            ({"ipRange": "10.0.0.0/20"}, {"ipRange": UNKNOWN}, {"ipRange": "UPDATE_REPLACE"}),
        ],
    )
    def test_vpc(self, old: dict[str, Any], new: dict[str, Any], expected: dict[str, str]) -> None:
        """One input at a time."""
        assert expected == kinds(VPC, old, new)

    def test_what_the_api_chose_may_be_written_down(self) -> None:
        """Naming the address range that the network has already is not a change."""
        assert kinds(VPC, {}, {"ipRange": "10.0.0.0/20"}, {"ipRange": "10.0.0.0/20"}) == {}

    @pytest.mark.parametrize(("old", "new", "expected"), [(True, False, "DELETE_REPLACE"), (False, True, "ADD")])
    def test_ipv6_can_be_switched_on_only(self, old: bool, new: bool, expected: str) -> None:
        """Switching it off needs a new Droplet."""
        assert {"ipv6": expected} == kinds(DROPLET, {"ipv6": old}, {"ipv6": new})

    @pytest.mark.parametrize("name", ["userData", "image", "sshKeys", "monitoring", "vpcUuid", "region"])
    def test_a_new_machine_for(self, name: str) -> None:
        """Inputs of a Droplet that replace it."""
        assert DROPLET.fields[name].replaces is True

    @pytest.mark.parametrize("name", ["name", "size", "tags", "backups"])
    def test_the_same_machine_for(self, name: str) -> None:
        """Inputs of a Droplet that change in place."""
        assert DROPLET.fields[name].replaces is False

    def test_user_data_is_compared_as_text_not_as_the_digest_in_state(self) -> None:
        """State has a digest; without the old inputs every update would replace the Droplet."""
        assert kinds(DROPLET, {"userData": "x"}, {"userData": "x"}, {"userData": "11f6ad8e"}) == {}

    def test_every_input_of_a_pool_replaces_it(self) -> None:
        """The official plugin can't update pools."""
        assert [name for name, field in POOL.inputs.items() if not field.replaces] == []

    def test_a_cluster_is_only_replaced_for(self) -> None:
        """A database is lost with each of these: the list must be short, and known."""
        assert sorted(name for name, field in CLUSTER.inputs.items() if field.replaces) == [
            "engine",
            "name",
            "privateNetworkUuid",
            "projectId",
        ]

    def test_the_hour_of_maintenance_has_no_seconds(self) -> None:
        """The API answers 13:00:00 to 13:00."""
        old, new = ({"maintenanceWindows": [{"day": "monday", "hour": hour}]} for hour in ("13:00:00", "13:00"))

        assert kinds(CLUSTER, old, new) == {}

    def test_growth_that_is_off_is_something(self) -> None:
        """To say that a disk doesn't grow isn't silence; a number that is 0 is, as in the official plugin."""
        off = {"storageAutoscale": {"enabled": False}}

        assert kinds(CLUSTER, {}, off) == {"storageAutoscale": "ADD"}
        assert kinds(CLUSTER, off, {"storageAutoscale": {"enabled": False, "thresholdPercent": 0}}) == {}

    @pytest.mark.parametrize(
        ("has", "said", "expected"),
        [
            ("@", "polls.example.", {}),
            ("www.polls.example.", "www", {}),
            ("@", "other.example.", {"value": "UPDATE"}),
            ("www.other.example.", "www", {"value": "UPDATE"}),
        ],
    )
    def test_the_domains_own_name_may_be_short(self, has: str, said: str, expected: dict[str, str]) -> None:
        """As the official plugin compares what it reads."""
        record = {"domain": "polls.example", "name": "a", "type": "CNAME"}

        assert expected == kinds(RECORD, {}, record | {"value": said}, record | {"value": has})
        assert expected == kinds(RECORD, record | {"value": has}, record | {"value": said})

    def test_rules_are_a_set(self) -> None:
        """Neither their order, nor that of their addresses, nor that of members on the wire is a change."""
        one = {"protocol": "tcp", "portRange": "80", "sourceAddresses": ["a", "b"]}
        two = {"sourceAddresses": ["b", "a"], "portRange": "443", "protocol": "tcp", "sourceTags": []}
        turned = [dict(reversed(two.items())), {"sourceAddresses": ["b", "a"], "portRange": "80", "protocol": "tcp"}]

        assert kinds(FIREWALL, {"inboundRules": [one, two]}, {"inboundRules": turned}) == {}

    def test_the_apis_own_parts_of_a_rule_are_no_change(self) -> None:
        """After an import the inputs have ids and times."""
        read = [{"type": "tag", "value": "web", "uuid": "u", "createdAt": "t"}]

        assert kinds(TRUSTED, {"rules": read}, {"rules": [{"type": "tag", "value": "web"}]}) == {}

    @pytest.mark.parametrize(("explicit", "expected"), [(True, True), (False, False)])
    def test_an_explicit_name_is_deleted_before_it_is_created_again(self, explicit: bool, expected: bool) -> None:
        """Two resources can't have the name at once; an automatic one differs."""
        news = {"name": "app", DEFAULTS: [] if explicit else ["name"]}

        assert expected == schema.deletes_before_replacing(POOL, news, {"size": Change(kind="UPDATE_REPLACE")})

    def test_an_update_in_place_deletes_nothing(self) -> None:
        """Delete-before-replace is about replacements only."""
        changes = {"size": Change(kind="UPDATE")}

        assert not schema.deletes_before_replacing(CLUSTER, {"name": "app", DEFAULTS: []}, changes)


class TestPreview:
    """What is known before `up`."""

    def test_nothing_that_the_api_sets_is_known_of_a_new_resource(self) -> None:
        """Every computed output is unknown, and so is a choice left to the API."""
        foretold = schema.preview(VPC, {}, {"region": "nyc3", "name": "n", DEFAULTS: []}, None)

        assert {"region": "nyc3", "name": "n"} | dict.fromkeys(
            ("ipRange", "createdAt", "default", "vpcUrn"), UNKNOWN
        ) == foretold

    def test_an_update_keeps_what_is_known(self) -> None:
        """Dependents must not be replaced because a description changes."""
        state = {"vpcUrn": "do:vpc:1", "description": "a"}
        foretold = schema.preview(VPC, state, {"description": "b"}, {"description": Change(kind="UPDATE")})

        assert foretold == {"description": "b", "vpcUrn": "do:vpc:1"}

    def test_secrets_are_sealed(self) -> None:
        """Passwords are secrets from the first preview on."""
        foretold = schema.seal(POOL, schema.preview(POOL, {}, {"name": "app"}, None))

        assert {"password", "uri", "privateUri"} == {
            name for name, value in foretold.items() if isinstance(value, Secret)
        }


class TestRead:
    """Refresh and import."""

    def test_drift_appears_in_the_inputs(self) -> None:
        """Else `refresh` would show nothing."""
        inputs = {"region": "nyc3", "description": "ours", DEFAULTS: []}

        assert (
            schema.drifted_inputs(VPC, inputs, {"region": "nyc3", "description": "theirs"})["description"] == "theirs"
        )

    def test_what_the_program_left_to_the_api_is_not_drift(self) -> None:
        """An address range that the API chose stays out of the inputs."""
        assert schema.drifted_inputs(
            VPC, {"region": "nyc3"}, {"region": "nyc3", "ipRange": "10.0.0.0/20", "description": ""}
        ) == {"region": "nyc3"}

    def test_what_the_api_never_returns_is_kept(self) -> None:
        """State has the image that the program named; nothing else can tell."""
        state = schema.new_state(DROPLET, {"image": "debian-13-x64", "status": "new"}, {"status": "active"})

        assert state == {"image": "debian-13-x64", "status": "active"}

    def test_an_echo_of_state_is_no_answer(self) -> None:
        """What the API does return is never taken from the state before."""
        assert "description" not in schema.new_state(VPC, {"description": "old"}, {"name": "n"})

    def test_an_import_takes_everything_settable(self) -> None:
        """Without `__defaults` the name counts as the program's own, as in the official plugin."""
        read = {"name": "n", "region": "nyc3", "ipRange": "10.0.0.0/20", "description": "", "vpcUrn": "do:vpc:1"}

        assert schema.inputs_from(VPC, read) == {"name": "n", "region": "nyc3", "ipRange": "10.0.0.0/20", DEFAULTS: []}

    @pytest.mark.parametrize("class_", CLASSES)
    def test_reading_back_the_inputs_changes_nothing(self, class_: str) -> None:
        """`up` after `import` is quiet when the program says what the API has."""
        kind = schema_of(class_)
        properties = {name: f"value of {name}" for name in kind.fields if not kind.fields[name].normalise}
        inputs = schema.inputs_from(kind, properties)

        assert schema.diff(kind, properties, inputs, inputs) == {}

    def test_computed_properties_are_never_inputs(self) -> None:
        """An import must not make a program say what only the API can."""
        assert [name for class_ in CLASSES for name, f in schema_of(class_).inputs.items() if f.role is COMPUTED] == []
