"""The pure parts of a full world: what machines inherit, are told and are named, control groups, images."""

import json
from pathlib import Path

import pytest

from sandbox.command_line import lifetime
from sandbox.machines import cgroups, config_drive, images, inherited, inotify, layer, meminfo
from sandbox.model import plans
from sandbox.model.realiser import DropletSpec
from sandbox.model.store import Store
from sandbox.model.topology import Cluster, Node, Record, Topology
from sandbox.network import namespaces, packet_filter
from sandbox.parts import metadata, names
from sandbox.world import world as worlds


def spec(**changes: object) -> DropletSpec:
    """Describe a Droplet."""
    fields: dict[str, object] = {
        "id": 400000001,
        "name": "web-1",
        "region": "nyc3",
        "size": "s-1vcpu-1gb",
        "image": "debian-13-x64",
        "memory_mib": 1024,
        "vcpus": 1,
        "user_data": "#cloud-config\n",
        "public_keys": ("ssh-ed25519 AAAA me",),
        "tags": (),
        "public_ip": "198.51.100.10",
        "private_ip": "10.10.0.10",
        "vpc_id": "v",
        "vpc_range": "10.10.0.0/20",
    }
    return DropletSpec(**(fields | changes))  # type: ignore[arg-type]


def test_config_drive_names_interfaces_by_their_hardware_addresses() -> None:
    """cloud-init finds links by MAC, so the drive and the network must agree."""
    files = config_drive.render(spec(), mtu=1400)
    data = json.loads(files[f"{config_drive.FOLDER}/network_data.json"])
    macs = [link["ethernet_mac_address"] for link in data["links"]]
    assert (
        macs
        == [namespaces.mac_address("198.51.100.10"), namespaces.mac_address("10.10.0.10")]
        == ["02:0d:c6:33:64:0a", "02:0d:0a:0a:00:0a"]
    )
    assert [(item["ip_address"], item["netmask"]) for item in data["networks"]] == [
        ("198.51.100.10", "255.255.255.0"),
        ("10.10.0.10", "255.255.240.0"),
    ]


def test_config_drive_without_user_data_has_no_such_file() -> None:
    """An empty file would be user data that cloud-init complains about."""
    assert f"{config_drive.FOLDER}/user_data" not in config_drive.render(spec(user_data=""), mtu=1400)


@pytest.mark.parametrize("name", [packet_filter.droplet_machine(4294967295), packet_filter.cluster_machine("f" * 36)])
def test_names_of_links_fit_the_kernel(name: str) -> None:
    """Linux takes 15 characters for a device, and cuts nothing off by itself."""
    assert all(len(link) <= 15 for link in namespaces.router_links(name))


def test_mirrors_of_this_machine_are_inherited(tmp_path: Path) -> None:
    """Both forms of apt's sources are read; what isn't Debian's is left out."""
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(
        "Types: deb\nURIs: https://mirror.example/debian/\nSuites: bookworm\n"
    )
    (tmp_path / "sources.list").write_text(
        "deb [signed-by=/k.gpg] https://other.example/tool stable main\n"
        "deb http://security.example/debian-security bookworm-security main\n"
    )
    assert inherited.debian_sources("trixie", tmp_path) == [
        "deb https://mirror.example/debian trixie main",
        "deb https://mirror.example/debian trixie-updates main",
        "deb http://security.example/debian-security trixie-security main",
    ]
    testing = inherited.source_of_testing("forky", tmp_path)
    assert testing == "deb [check-valid-until=no] https://mirror.example/debian forky main"


def test_without_debian_sources_the_usual_mirrors_serve(tmp_path: Path) -> None:
    """An Ubuntu machine makes Debian images too."""
    (tmp_path / "sources.list").write_text("deb http://archive.ubuntu.com/ubuntu noble main\n")
    assert inherited.debian_sources("trixie", tmp_path)[0] == "deb http://deb.debian.org/debian trixie main"


def test_variables_of_machines() -> None:
    """Index settings are inherited; folders and loopback addresses of this machine are not; trust is the guest's."""
    base = {
        "PIP_INDEX_URL": "https://pypi.example/simple",
        "PIP_FIND_LINKS": "/opt/wheels",
        "https_proxy": "http://127.0.0.1:3128",
        "SSL_CERT_FILE": "/here.pem",
    }
    expected = dict.fromkeys(inherited.TRUST_VARIABLES, inherited.GUEST_BUNDLE)
    assert inherited.variables(base) == expected | {"PIP_INDEX_URL": "https://pypi.example/simple"}


def test_layer_keeps_cloud_init_from_the_mirrors(tmp_path: Path) -> None:
    """cloud-init must not put its own mirrors in the place of inherited ones, and finds the config drive first."""
    world = worlds.create(tmp_path / "w", "full", proxy_port=1)
    (world.ca / "ca.crt").write_text("PEM")
    contents = layer.files(world, ["EXTRA"], {})
    assert contents["usr/local/share/ca-certificates/sandbox-ca.crt"] == "PEM"
    assert contents["usr/local/share/ca-certificates/sandbox-extra-0.crt"] == "EXTRA"
    assert "preserve_sources_list: true" in contents["etc/cloud/cloud.cfg.d/91_sandbox.cfg"]
    assert "datasource_list: [ConfigDrive, None]" in contents["etc/cloud/cloud.cfg.d/91_sandbox.cfg"]


def test_image_version_is_its_content() -> None:
    """A changed recipe is another image; the base has nothing that our cloud-init must bring."""
    base = images.RECIPES["base"]
    changed = images.Recipe(suite=base.suite, packages=(*base.packages, "nginx"), after=base.after)
    assert changed.version() != base.version()
    assert not {"nginx", "certbot", "uv", "python3-django", "python3-pip"} & set(base.packages)


def test_commands_of_the_internet_side_ask_the_worlds_dns_only(tmp_path: Path) -> None:
    """systemd-resolved's own module for host names would lead to the real DigitalOcean; other lines stay."""
    (tmp_path / "nsswitch.conf").write_text("passwd: files\nhosts: mymachines resolve [!UNAVAIL=return] files dns\n")
    assert namespaces.internet_side_files(tmp_path) == {
        "resolv.conf": "nameserver 198.51.100.1\n",
        "nsswitch.conf": "passwd: files\nhosts: files dns\n",
    }


def test_older_versions_of_an_image_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newly built image takes the place of its predecessors, and of no other image's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(images, "_build", lambda _name, _recipe, target, *_others: target.mkdir())
    for name in ("base-0123456789ab", "postgres-0123456789ab", "postgres-18-0123456789ab"):
        (images.folder() / name / "etc").mkdir(parents=True)
    built = {images.ensure(name, lambda _line: None).name for name in ("base", "postgres")}
    left = {path.name for path in images.folder().iterdir() if path.is_dir()}
    assert left == {*built, "postgres-18-0123456789ab"}


def test_first_images_are_those_that_every_world_needs() -> None:
    """The image of a version that few ask for makes nobody else's first start longer."""
    assert set(images.FIRST) == {"base", images.POSTGRES[plans.POSTGRES_DEFAULT]}
    assert set(images.RECIPES) == {"base", *images.POSTGRES.values()}


def test_a_world_with_a_cluster_needs_its_image_at_the_start(tmp_path: Path) -> None:
    """Building it again, after its recipe has changed, is not part of the API's own start."""
    world = worlds.create(tmp_path / "w", "full", proxy_port=1)
    assert lifetime.images_of(world) == ["base", "postgres"]
    (world.home / "clusters" / "some-id").mkdir(parents=True)
    (world.home / "clusters" / "some-id" / "spec.json").write_text('{"version": "18"}')
    assert lifetime.images_of(world) == ["base", "postgres", "postgres-18"]


def test_only_named_packages_come_from_the_next_release() -> None:
    """The pooler does for every version; the rest of the system, systemd above all, stays Debian 13's."""
    newer = {name: set(recipe.newer) for name, recipe in images.RECIPES.items()}
    assert newer == {
        "base": set(),
        "postgres": {"pgbouncer"},
        "postgres-18": {"pgbouncer", "postgresql-18", "glibc"},
    }
    assert images.preferences(images.RECIPES["postgres-18"]) == (
        "Package: *\nPin: release n=forky\nPin-Priority: 100\n\n"
        "Package: src:pgbouncer src:postgresql-18 src:glibc\nPin: release n=forky\nPin-Priority: 990\n"
    )


def test_dns_answers_digitaloceans_names_and_the_topologys() -> None:
    """Names of services lead to the front, records and clusters to their addresses."""
    text = names.render_configuration(Path("/hosts"), Path("/servers"), ["192.0.2.53"], (2, 90))
    assert "address=/digitaloceanspaces.com/198.51.100.1\n" in text
    assert "server=192.0.2.53\n" in text
    assert "filter-AAAA\n" in text
    assert "filter-AAAA" not in names.render_configuration(Path("/hosts"), Path("/servers"), [], (2, 85))
    cluster = Cluster(
        id="1",
        host="db.example",
        private_host="private-db.example",
        nodes=(
            Node(number=1, public_ip="198.51.100.100", private_ip="10.10.0.20"),
            Node(number=2, public_ip="198.51.100.101", private_ip="10.10.0.21"),
        ),
        primary=2,
        vpc_id="v",
        trusted_sources=(),
    )
    records = (
        Record(name="polls.example", type="A", data="198.51.100.200", ttl=60),
        Record(name="polls.example", type="AAAA", data="2001:db8::1", ttl=60),
    )
    assert names.render_hosts(Topology(records=records, clusters=(cluster,))).splitlines() == [
        "198.51.100.200 polls.example",
        "198.51.100.100 replica-db.example",
        "10.10.0.20 replica-private-db.example",
        "198.51.100.101 db.example",
        "10.10.0.21 private-db.example",
    ]


@pytest.fixture
def unified(tmp_path: Path) -> Path:
    """Make what a machine with control groups of version 2 only shows."""
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (tmp_path / "cgroup.subtree_control").touch()
    return tmp_path


def test_limits_on_version_2(unified: Path) -> None:
    """Controllers are handed down, and the plan's limits are written in that version's words."""
    cgroups.check(unified)
    cgroups.create("d1", memory_mib=512, vcpus=1, root=unified)
    group = unified / cgroups.TOP / "d1"
    assert (unified / cgroups.TOP / "cgroup.subtree_control").read_text() == "+memory +cpu +pids"
    assert (group / "memory.max").read_text() == str(512 * 1024 * 1024)
    assert (group / "cpu.max").read_text() == "100000 100000"
    assert cgroups.exec_files("d1", unified) == [group / "exec" / "cgroup.procs"]


def put(folder: Path, files: dict[str, object]) -> None:
    """Write what the kernel says of a group."""
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")


MIB = 2**20
VERSION_2 = {
    "memory.max": 512 * MIB,
    "memory.current": 500 * MIB,
    "memory.stat": f"anon {300 * MIB}\ninactive_file {60 * MIB}\nactive_file {40 * MIB}\nslab_reclaimable {50 * MIB}",
}
VERSION_1 = {
    "memory.limit_in_bytes": 512 * MIB,
    "memory.usage_in_bytes": 500 * MIB,
    "memory.kmem.usage_in_bytes": 100 * MIB,
    "memory.stat": f"cache 1\ntotal_rss {300 * MIB}\ntotal_inactive_file {60 * MIB}\ntotal_active_file {40 * MIB}",
}


@pytest.mark.parametrize("version", [VERSION_1, VERSION_2])
def test_a_machine_has_what_it_can_drop(tmp_path: Path, version: dict[str, object]) -> None:
    """Of 512 MiB, 300 are the programs'; on version 1 half of the kernel's can be dropped, as on the whole machine."""
    if version is VERSION_2:
        (tmp_path / "cgroup.controllers").touch()
    put(tmp_path / ("" if version is VERSION_2 else "memory") / cgroups.TOP / "d1", version)
    whole = tmp_path / "meminfo"
    whole.write_text("Slab: 90 kB\nSReclaimable: 50 kB\nKernelStack: 5 kB\nPageTables: 5 kB\nHugePages_Total: 0\n")
    expected = cgroups.Room(limit=512 * MIB, free=12 * MIB, files=100 * MIB, available=162 * MIB)
    assert cgroups.room("d1", tmp_path, whole) == expected


def test_a_machines_memory_is_written_as_the_kernel_writes_it(tmp_path: Path) -> None:
    """Lines that `free` and the agent read, in a file that stays the same one, since the machine has it mounted."""
    (tmp_path / "cgroup.controllers").touch()
    group, folder = tmp_path / cgroups.TOP / "d1", tmp_path / "machines/d1"
    put(group, VERSION_2)
    put(folder, {"meminfo": ""})
    file = meminfo.file_of(folder)
    inode = file.stat().st_ino
    meminfo.write(folder, tmp_path)
    first = file.read_text()
    assert first.splitlines()[:3] == [
        "MemTotal:         524288 kB",
        "MemFree:           12288 kB",
        "MemAvailable:     165888 kB",
    ]
    (group / "memory.current").write_text(str(512 * MIB))
    meminfo.write(folder, tmp_path)
    second = file.read_text()
    assert (len(second), file.stat().st_ino) == (len(first), inode)
    assert "MemFree:               0 kB" in second


def test_missing_controllers_are_named(tmp_path: Path) -> None:
    """A container without writable groups is told which are missing."""
    (tmp_path / "cgroup.controllers").write_text("cpu\n")
    with pytest.raises(cgroups.CgroupError, match="control groups memory, pids are not mounted"):
        cgroups.check(tmp_path)


def test_pids_of_a_group_include_those_below(unified: Path) -> None:
    """A machine's systemd makes groups of its own; zeros are processes of another pid namespace."""
    for name, text in (("d1", "12\n"), ("d1/payload/system.slice", "13\n0\n"), ("d2", "14\n")):
        folder = unified / cgroups.TOP / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.procs").write_text(text)
    assert cgroups.pids("d1", unified) == {12, 13}
    assert cgroups.pids(root=unified) == {12, 13, 14}


def test_who_only_reads_a_store_sees_what_others_write(tmp_path: Path) -> None:
    """What was listed is kept until somebody has written, whatever that was; who has the list may do with it."""
    store = Store(tmp_path / "api.sqlite")
    store.put("droplet", 7, {"name": "web-1"})
    reader = Store(tmp_path / "api.sqlite", read_only=True)
    reader.list("droplet").clear()
    assert [one.id for one in reader.list("droplet")] == ["7"]
    store.put("droplet", 8, {"name": "web-2"})
    assert [one.id for one in reader.list("droplet")] == ["7", "8"]
    store.put("droplet", 8, {"name": "web-3"})
    assert [one.body["name"] for one in reader.list("droplet")] == ["web-1", "web-3"]
    store.delete("droplet", 7)
    assert ([one.id for one in reader.list("droplet")], reader.count("droplet")) == (["8"], 1)
    for one in (reader, store):
        one.close()


def test_metadata_of_a_droplet(tmp_path: Path) -> None:
    """Values, indices and lists as the real service answers them, and nothing of other Droplets."""
    store = Store(tmp_path / "api.sqlite")
    store.put("vpc", "v", {"ip_range": "10.10.0.0/20"})
    body = {"name": "web-1", "region": {"slug": "nyc3"}, "vpc_uuid": "v", "tags": ["web"], "features": ["monitoring"]}
    private = {"public_ip": "198.51.100.10", "private_ip": "10.10.0.10", "public_keys": ["a", "b"], "user_data": "#!"}
    store.put("droplet", 7, body, private)
    store.put("reserved_ip", "198.51.100.200", {"droplet": {"id": 7}})
    assert metadata.find(store, "198.51.100.99") is None
    droplet = metadata.find(store, "10.10.0.10")
    assert droplet is not None
    content = metadata.document(store, droplet)
    store.close()
    answers = {
        path: metadata.answer(content, path)
        for path in (
            "/id",
            "/user-data",
            "/public-keys",
            "/interfaces/",
            "/interfaces/public/0/ipv4/address",
            "/interfaces/private/0/ipv4/netmask",
            "/interfaces/private/1",
            "/reserved_ip/ipv4/active",
            "/reserved_ip/ipv4/ip_address",
        )
    }
    assert answers == {
        "/id": "7",
        "/user-data": "#!",
        "/public-keys": "a\nb",
        "/interfaces/": "public/\nprivate/",
        "/interfaces/public/0/ipv4/address": "198.51.100.10",
        "/interfaces/private/0/ipv4/netmask": "255.255.240.0",
        "/interfaces/private/1": None,
        "/reserved_ip/ipv4/active": "true",
        "/reserved_ip/ipv4/ip_address": "198.51.100.200",
    }


def test_a_directory_that_existed_becomes_private(tmp_path: Path) -> None:
    """Machines' disks and keys are in a world's home, whoever made the directory."""
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    worlds.create(home, "full", proxy_port=1)
    assert home.stat().st_mode & 0o777 == 0o700


def test_world_json_is_the_owners(tmp_path: Path) -> None:
    """It holds the token and keys."""
    world = worlds.create(tmp_path / "w", "api", proxy_port=1)
    assert (world.home / "world.json").stat().st_mode & 0o777 == 0o600
    assert worlds.load(world.home) == world


def test_room_for_machines_is_made_and_given_back(tmp_path: Path) -> None:
    """By the kernel's limit of inotify instances; one that is high enough already is left alone."""
    world = worlds.create(tmp_path / "w", "full", proxy_port=1)
    world.run.mkdir(exist_ok=True)
    limit = tmp_path / "limit"
    limit.write_text("128\n")
    assert inotify.make_room(world, limit)
    assert inotify.ceiling(limit) > 100  # one for every address of the world
    assert inotify.make_room(world, limit)  # `sandbox up` of a world that is up
    inotify.put_back(world, limit)
    assert limit.read_text() == "128"
    limit.write_text("4096\n")
    assert inotify.make_room(world, limit)
    inotify.put_back(world, limit)
    assert limit.read_text() == "4096\n"


def test_a_machine_that_would_not_boot_is_refused(tmp_path: Path) -> None:
    """Before it is made, with the setting to raise."""
    limit = tmp_path / "limit"
    limit.write_text("128\n")
    inotify.check(20, limit)
    with pytest.raises(inotify.NoRoomError, match=r"21 machines run, .*\.max_user_instances is 128, a machine needs 6"):
        inotify.check(21, limit)


@pytest.mark.root
def test_a_limit_that_can_not_be_raised_is_no_error(tmp_path: Path) -> None:
    """A file that even root can't write stands for a container's."""
    world = worlds.create(tmp_path / "w", "full", proxy_port=1)
    assert not inotify.make_room(world, Path("/proc/sys/kernel/random/entropy_avail"))
    inotify.put_back(world)
