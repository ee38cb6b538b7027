"""A preview's events become a report: what is lost, what is away, what refuses, and what merely changes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.preview import events, report
from operations.preview.effect import Level
from operations.preview.meaning import ACCEPTED, MEANINGS, effects

STACK = "pulumi:pulumi:Stack"


def event(op: str, kind: str, name: str, *reasons: str, **sides: dict[str, Any]) -> str:
    """One step, as the engine tells it before it does it."""
    metadata = {
        "op": op,
        "urn": f"urn:pulumi:dev::django-do::digitalocean:index/x:{kind}::{name}",
        "type": f"digitalocean:index/x:{kind}",
        "old": {"custom": True, "inputs": sides.get("old", {})} if op != "create" else None,
        "new": {"custom": True, "inputs": sides.get("new", {})},
        ("diffs" if op == "update" else "keys"): list(reasons),
    }
    return json.dumps({"sequence": 1, "resourcePreEvent": {"metadata": metadata}})


def outputs(before: dict[str, Any], after: dict[str, Any]) -> str:
    """The stack's outputs, which come at the end."""
    metadata = {
        "op": "same",
        "urn": f"urn:pulumi:dev::django-do::{STACK}::django-do-dev",
        "type": STACK,
        "old": {"outputs": before},
        "new": {"outputs": after},
    }
    return json.dumps({"sequence": 2, "resOutputsEvent": {"metadata": metadata}})


END = json.dumps({"sequence": 3, "summaryEvent": {}})
NOTHING = outputs({}, {})


def told(*lines: str) -> str:
    """The report of a preview that came to its end."""
    return report.markdown(events.read([*lines, NOTHING, END]))


@pytest.mark.parametrize("verb", ["replace", "delete"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("DatabaseCluster", "polls-dev-db"),
        ("DatabaseDb", "polls-dev-database"),
        ("DatabaseUser", "polls-dev-app"),
        ("SpacesBucket", "polls-dev-media"),
        ("SpacesBucket", "polls-dev-assets"),
        ("SpacesBucket", "polls-dev-releases"),
        ("Domain", "polls-dev-domain"),
    ],
)
def test_what_is_gone_for_ever_is_said_first(kind: str, name: str, verb: str) -> None:
    """With the input that is to blame, and what to do instead."""
    text = told(event("update", "Cdn", "polls-dev-cdn", "ttl"), event(verb, kind, name, "region"))
    first, _, line, *_ = text.splitlines()
    assert first.startswith("### `dev`: **DATA LOSS** (")
    assert line.startswith(f"- **DATA LOSS**: `{name}` is {verb}d, and ")
    assert "Because of: " in line
    assert "Instead: " in line


@pytest.mark.parametrize("verb", ["create", "update"])
def test_what_stays_loses_nothing(verb: str) -> None:
    """Not even of the kinds that hold data."""
    for kind in MEANINGS:
        preview = events.read([event(verb, kind, f"polls-dev-{kind.lower()}", "tags"), NOTHING, END])
        assert [effect for effect in effects(preview) if effect.level == Level.DATA_LOSS] == []


def test_the_droplets_reports_are_no_data() -> None:
    """They report again."""
    assert "DATA LOSS" not in told(event("replace", "SpacesBucket", "polls-dev-state", "region"))


def test_a_bucket_that_may_not_be_emptied_is_said() -> None:
    """The deletion will fail, which is better known before."""
    lines = event("delete", "SpacesBucket", "polls-dev-media", old={"forceDestroy": False})
    assert "- **CARE**: deleting `polls-dev-media` fails while objects are in it" in told(lines)
    lines = event("delete", "SpacesBucket", "polls-dev-media", old={"forceDestroy": True})
    assert "CARE" not in told(lines)


def test_keys_made_by_hand_are_not_for_a_new_space() -> None:
    """They name the Spaces that they open; those that the program makes are made anew."""
    replaced = event("replace", "SpacesBucket", "polls-dev-media", "region")
    assert "`storage.keys` are not for the new `polls-dev-media`" in told(replaced)
    assert "storage.keys" not in told(replaced, event("create", "SpacesKey", "polls-dev-app-key"))


CREATE_FIRST = (
    event("create-replacement", "Droplet", "polls-dev-web-1", "userData"),
    event("replace", "Droplet", "polls-dev-web-1", "userData"),
    event("delete-replaced", "Droplet", "polls-dev-web-1", "userData"),
)


def test_a_replaced_droplet_says_no_downtime() -> None:
    """One line, though the engine has three steps for it."""
    text = told(*CREATE_FIRST)
    assert text.startswith("### `dev`: 1 replaced; no downtime\n")
    assert text.count("is replaced without downtime") == 1


@pytest.mark.parametrize(
    ("kind", "name"),
    [("DatabaseCluster", "polls-dev-db"), ("ReservedIp", "polls-dev-address"), ("SpacesBucket", "polls-dev-state")],
)
def test_or_why_not(kind: str, name: str) -> None:
    """A new machine can't take over what is replaced with it."""
    text = told(*CREATE_FIRST, event("replace", kind, name, "region"))
    assert f"`polls-dev-web-1` is replaced, and the site is down meanwhile, because `{name}` is replaced" in text
    assert "without downtime" not in text


def test_a_droplet_loses_its_public_address_without_downtime() -> None:
    """By its setting's name; and who lets Droplets in by address has to know."""
    text = told(
        event("replace", "Droplet", "polls-dev-web-1", "publicNetworking"),
        event("create", "VpcNatGateway", "polls-dev-nat-gateway"),
    )
    assert all(said in text for said in ("`polls-dev-web-1` is replaced without downtime", "`web.publicNetwork`."))
    assert "`polls-dev-nat-gateway` is created: what the app calls sees another address" in text
    assert "created NAT gateway `polls-dev-nat-gateway`" in text


def test_a_site_under_another_name_is_an_outage() -> None:
    """For those who have the old one, whoever keeps its DNS."""
    sides = {"old": {"url": "https://a.example"}, "new": {"url": "https://b.example"}}
    text = told(event("update", "Probe", "polls-dev-probe", **sides))
    assert "- **OUTAGE**: the site is b.example instead of a.example" in text
    text = told(*CREATE_FIRST, event("update", "Probe", "polls-dev-probe", **sides))
    assert "the site is down meanwhile, because the site gets the name b.example" in text
    same = dict.fromkeys(sides, sides["old"])
    assert "OUTAGE" not in told(event("update", "Probe", "polls-dev-probe", **same))


def test_a_droplet_that_is_deleted_first() -> None:
    """As one with a name of its own would be."""
    text = told(CREATE_FIRST[2], CREATE_FIRST[1], CREATE_FIRST[0])
    assert "- **OUTAGE**: `polls-dev-web-1` is deleted before its successor is there" in text


def test_a_resized_droplet_is_off() -> None:
    """While other changes of it in place are not noticed."""
    assert "**OUTAGE**" in told(event("update", "Droplet", "polls-dev-web-1", "size"))
    assert "OUTAGE" not in told(event("update", "Droplet", "polls-dev-web-1", "backups"))


def test_a_resized_cluster_breaks_connections() -> None:
    """Another plan changes over to another server; standby nodes come beside it."""
    assert "**OUTAGE**: the cluster is resized" in told(event("update", "DatabaseCluster", "polls-dev-db", "size"))
    text = told(event("update", "DatabaseCluster", "polls-dev-db", "nodeCount"))
    assert "- **CARE**: the cluster gets standby nodes in place" in text
    assert "OUTAGE" not in text


def test_a_new_network_needs_a_range_of_its_own() -> None:
    """The old one is there until everything has moved, and DigitalOcean lets no two overlap."""
    same, other = {"ipRange": "10.1.0.0/20"}, {"ipRange": "10.2.0.0/20"}
    failing = "`pulumi up` would fail: the new `polls-dev-vpc` can't have the range of the old one"
    assert failing in told(event("replace", "Vpc", "polls-dev-vpc", "region", old=same, new=same))
    assert failing not in told(event("replace", "Vpc", "polls-dev-vpc", "region", old=same, new=other))


def test_a_name_that_leaves_digitaloceans_servers_is_an_outage() -> None:
    """Until somebody else answers for it; and what is being done is not what to do instead."""
    sides = {side: {"url": "https://a.example", "dns": dns} for side, dns in (("old", "managed"), ("new", "external"))}
    text = told(event("update", "Probe", "polls-dev-probe", **sides), event("delete", "Domain", "polls-dev-domain"))
    assert "- **OUTAGE**: the record of a.example at DigitalOcean is deleted" in text
    assert "set dns: external" not in text
    back = {"old": sides["new"], "new": sides["old"]}
    assert "OUTAGE" not in told(event("update", "Probe", "polls-dev-probe", **back))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("nodeCount", 3, 2),
        ("size", "db-s-2vcpu-4gb", "db-s-1vcpu-2gb"),
        ("size", "gd-4vcpu-16gb-intel", "gd-2vcpu-8gb-intel"),
        ("size", "c-96-intel", "gd-40vcpu-160gb"),
    ],
    ids=["nodes", "size", "advanced", "without-its-memory"],
)
def test_a_cluster_gets_no_smaller(name: str, old: object, new: object) -> None:
    """DigitalOcean refuses it, after other things may have been done."""
    text = told(event("update", "DatabaseCluster", "polls-dev-db", name, old={name: old}, new={name: new}))
    assert "`pulumi up` would fail: a cluster never gets less than it has" in text
    assert f"{new} instead of {old}" in text
    text = told(event("update", "DatabaseCluster", "polls-dev-db", name, old={name: new}, new={name: old}))
    assert "would fail" not in text


def test_a_stack_under_another_name_wants_the_same_domain() -> None:
    """Everything would be made anew, and the domain of the old one is in the way."""
    domain = {"name": "polls.example"}
    new, old = (
        event("create", "Domain", "new-domain", new=domain),
        event("delete", "Domain", "old-domain", old=domain),
    )
    assert "`pulumi up` would stop half way: the new `new-domain` can't be made" in told(new, old)
    assert "half way" not in told(new)


def test_a_replaced_pool_says_how_long_it_is_gone() -> None:
    """And what the connections come to, before and after."""
    before = {"supply": "pool 20", "demand": "16 of 1000 clients"}  # by a version that said nothing of the limit
    after = {"supply": "pool 10", "demand": "16 of 1000 clients", "limit": "from 2 Droplets on"}
    budget = outputs({"connection_budget": before}, {"connection_budget": after})
    text = report.markdown(
        events.read([event("replace", "DatabaseConnectionPool", "polls-dev-pool", "size"), budget, END])
    )
    assert "fail for about a second. Because of: `pool.size`, or the plan that it follows." in text
    assert "- pool 10 (was: pool 20)\n- 16 of 1000 clients\n- from 2 Droplets on\n" in text


def test_a_refused_change_names_the_rule() -> None:
    """The engine's own error, that there are violations, is not repeated."""
    violation = {"policyName": "ssh-not-public", "message": "The reason.\nfirewall.inboundRules: must not; do\n"}
    failed = {"severity": "error", "message": "error: preview failed\n"}
    text = told(
        json.dumps({"sequence": 1, "policyEvent": violation}), json.dumps({"sequence": 1, "diagnosticEvent": failed})
    )
    assert text.startswith(
        "### `dev`: **refused**\n\n- **REFUSED** by the rule `ssh-not-public`: firewall.inboundRules: "
    )
    assert "**ERROR**" not in text


def test_what_the_program_refuses_is_told_in_its_own_words() -> None:
    """One line for each problem, without what the engine says around them."""
    messages = [
        'error: Preview failed: before hook "x-new-cluster" failed: database.size: must; do\ndatabase.nodes: x; y',
        "error: preview failed\n",
        "error: Resource monitor has terminated, shutting down\n",
    ]
    text = told(
        *(json.dumps({"sequence": 1, "diagnosticEvent": {"severity": "error", "message": m}}) for m in messages)
    )
    assert text.startswith(
        "### `dev`: **refused**\n\n- **REFUSED**: database.size: must; do\n- **REFUSED**: database.nodes: x; y\n"
    )
    assert "**ERROR**" not in text


def test_a_refusal_of_the_program_stands_beside_those_of_the_pack() -> None:
    """Else it would be met only when the others are repaired."""
    violation = {"policyName": "cors-exact-origins", "message": "why\nassets.corsRules: must name sites"}
    refusal = 'error: Preview failed: before hook "x-new-cluster" failed: database.nodes: must be 1, got 2'
    text = told(
        json.dumps({"sequence": 1, "policyEvent": violation}),
        json.dumps({"sequence": 2, "diagnosticEvent": {"severity": "error", "message": refusal}}),
        json.dumps({"sequence": 3, "diagnosticEvent": {"severity": "error", "message": "error: preview failed"}}),
    )
    assert text.splitlines()[2:5] == [
        "- **REFUSED** by the rule `cors-exact-origins`: assets.corsRules: must name sites",
        "- **REFUSED**: database.nodes: must be 1, got 2",
        "",
    ]


def test_what_is_accepted_is_said_each_time() -> None:
    """By the setting's name, also when nothing changes, without raising an alarm."""
    for path in ACCEPTED:
        accepted = outputs({"accepted": [path]}, {"accepted": [path]})
        text = report.markdown(events.read([event("same", "Vpc", "polls-dev-vpc"), accepted, END]))
        assert text.startswith(f"### `dev`: nothing changes\n\nAccepted:\n- `{path}`: ")


@pytest.mark.parametrize(("op", "disk"), [("update", "40960"), ("same", "40960"), ("replace", None)])
def test_a_cluster_that_is_made_anew_has_not_grown(op: str, disk: str | None) -> None:
    """What is known of the old one is told of the old one only."""
    step = json.loads(event(op, "DatabaseCluster", "polls-dev-db", old={}, new={}))
    step["resourcePreEvent"]["metadata"]["old"]["outputs"] = {"storageSizeMib": "40960"}
    preview = events.read([json.dumps(step), END])
    [had], [has] = preview.had.values(), preview.has.values()
    assert (had.outputs.get("storageSizeMib"), has.outputs.get("storageSizeMib")) == ("40960", disk)


@pytest.mark.parametrize(
    ("engine", "old", "new", "may_fail"),
    [
        ("pg", ("db-s-2vcpu-4gb", 1), ("db-s-4vcpu-8gb", 1), True),
        ("pg", ("db-s-2vcpu-4gb", 1), ("db-s-2vcpu-4gb", 2), True),
        ("pg", ("db-s-1vcpu-2gb", 1), ("db-s-2vcpu-4gb", 1), False),
        ("pg", ("db-s-4vcpu-8gb", 2), ("db-s-6vcpu-16gb", 2), False),
        ("advanced_pg", ("gd-2vcpu-8gb", 1), ("gd-4vcpu-16gb", 2), False),
    ],
)
def test_a_cluster_that_grows_beyond_what_new_ones_have_may_be_refused(
    engine: str, old: tuple[str, int], new: tuple[str, int], *, may_fail: bool
) -> None:
    """It is said and not refused: only DigitalOcean knows. One that has more already grows as before."""
    sides = {
        side: {"engine": engine, "size": size, "nodeCount": nodes}
        for side, (size, nodes) in {"old": old, "new": new}.items()
    }
    text = told(event("update", "DatabaseCluster", "polls-dev-db", "size", "nodeCount", **sides))
    assert ("`pulumi up` may fail: new clusters of the edition standard have at most 4 GiB" in text) is may_fail
    assert "is resized in place" in text


def test_wrong_settings_are_quoted_whole() -> None:
    """And not followed by the engine's news that the program ended."""
    messages = [
        "error: the settings have 1 problem:\n  web.size: ```\n",
        "error: an unhandled error occurred: program exited with 1\n",
    ]
    text = told(
        *(json.dumps({"sequence": 1, "diagnosticEvent": {"severity": "error", "message": m}}) for m in messages)
    )
    assert "  ````text\n  the settings have 1 problem:\n    web.size: ```\n  ````\n" in text
    assert text.count("**ERROR**") == 1


def test_what_the_program_warns_of_is_told() -> None:
    """Before what changes, one line for each, without the engine's about its plugins; the log alone would hide it."""
    messages = ("using pulumi-resource-x from $PATH at /x\n", "app.path: its requirements.txt must\n  have gunicorn\n")
    said = [{"severity": "warning", "message": message} for message in messages]
    text = told(*(json.dumps({"sequence": 1, "diagnosticEvent": one}) for one in said), NOTHING)
    assert text.startswith(
        "### `dev`: nothing changes\n\n- **WARNING**: app.path: its requirements.txt must have gunicorn\n"
    )


def test_nothing_changes() -> None:
    """Which is a good report, too."""
    assert told(event("same", "Vpc", "polls-dev-vpc")) == "### `dev`: nothing changes\n"


def test_a_preview_that_was_cut_off() -> None:
    """Without its end nobody knows what would have come."""
    assert "did not come to its end" in report.markdown(events.read([NOTHING]))


@pytest.mark.parametrize("lines", [[], ["Previewing update (dev):"], ['{"steps": []}'], ["[1]"], ["null"]])
def test_what_is_no_preview_is_refused(lines: list[str]) -> None:
    """With what to run instead."""
    with pytest.raises(events.NotEventsError, match="pulumi preview --json"):
        events.read(lines)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["create", "update", "replace", "create-replacement", "delete-replaced", "delete", "same"]),
            st.sampled_from([*MEANINGS, "SomethingNew"]),
            st.sampled_from(["a-media", "a-state", "a-secret-key", "b"]),
            st.lists(st.sampled_from(["region", "size", "version", "x"]), unique=True),
        ),
        max_size=40,
    )
)
def test_any_preview_is_told_and_data_loss_always_heads_it(
    steps: list[tuple[str, str, str, list[str]]],
) -> None:
    """No order of steps, and no kind, is unknown to the report."""
    text = told(*(event(op, kind, name, *reasons) for op, kind, name, reasons in steps))
    head = text.splitlines()[0]
    assert ("**DATA LOSS**:" in text) == ("DATA LOSS" in head)


def test_what_is_for_debugging_is_not_told() -> None:
    """The engine quotes there what a program says to it, secrets in plain."""
    said = {"severity": "debug", "message": "RegisterResource: hunter2\n"}
    assert "hunter2" not in told(json.dumps({"sequence": 1, "diagnosticEvent": said}))


def test_the_log_may_be_left_out() -> None:
    """Where another one is shown beside the report."""
    said = {"severity": "info", "message": "Installing\n"}
    preview = events.read([json.dumps({"sequence": 1, "diagnosticEvent": said}), NOTHING, END])
    assert "<details>" in report.markdown(preview)
    assert report.markdown(preview, with_log=False) == "### `dev`: nothing changes\n"


def test_the_files_of_a_release_are_told() -> None:
    """What the program says of its artifact, and nothing of what others say; a release of before has none."""
    urn = "urn:pulumi:dev::django-do::django-do:release:Release$django-do-runner:index:Artifact::polls-dev-artifact"
    said = [
        {"severity": "info#err", "message": "3 files go\n", "urn": urn},
        {"severity": "warning", "message": "left out: dist/", "urn": urn},
        {"severity": "warning", "message": "deprecated", "urn": urn.replace("Artifact", "Secret")},
        {"severity": "error", "message": "refused", "urn": urn},
    ]
    lines = [json.dumps({"sequence": 1, "diagnosticEvent": one}) for one in said]
    assert "Files:\n```text\n3 files go\nleft out: dist/\n```\n\n" in told(*lines)
    assert "Files:" not in told(event("update", "Rollout", "polls-dev-rollout", "release"))
