"""What Ceph is told: its configuration, keys, zones and the account, as texts and documents."""

import base64
import secrets
import struct
import time
from pathlib import Path
from typing import Any

from sandbox.model.plans import SPACES_REGIONS
from sandbox.world.world import SPACES_DOMAIN, World

ADDRESS = "127.0.0.1"  # of every daemon, in the router's namespace
MONITOR_PORT = 3300
_FIRST_PORT = 7480
ACCOUNT = "acct"  # the RGW user who owns all buckets; the account's own keys are its keys
_DISK_BYTES = 10 * 2**30  # apparent size of the block file: it is sparse, about 45 MB when empty


def gateway_port(region: str) -> int:
    """Port of a region's gateway on the namespace's loopback."""
    return _FIRST_PORT + SPACES_REGIONS.index(region)


def configuration(folder: Path, cluster: str) -> str:
    """Write ceph.conf of the cluster with this id, whose files are in the folder."""
    general = f"""\
[global]
fsid = {cluster}
mon initial members = a
mon host = [v2:{ADDRESS}:{MONITOR_PORT}/0]
public addr = {ADDRESS}
cluster addr = {ADDRESS}
ms bind ipv6 = false
ms bind msgr1 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {folder}/keyring
run dir = {folder}
admin socket =
pid file =
log file =
log to stderr = true
err to stderr = true
crash dir = {folder}
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
rgw rados pool pg num min = 1
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
objecter tick interval = 0.3
[mon]
mon data = {folder}/mon
mon data avail crit = 1
mon cluster log file = /dev/null
auth allow insecure global id reclaim = false
paxos propose interval = 0.05
paxos min wait = 0.01
[osd]
osd data = {folder}/osd
osd objectstore = bluestore
bdev aio poll ms = 25
bluestore block size = {_DISK_BYTES}
bluestore cache autotune = false
bluestore cache size = 67108864
osd client watch timeout = 4
osd op num shards = 2
osd op num threads per shard = 1
"""
    gateways = [
        f"""\
[client.rgw.{region}]
rgw zonegroup = {region}
rgw zone = {region}
rgw dns name = {region}.{SPACES_DOMAIN}
rgw frontends = beast endpoint={ADDRESS}:{gateway_port(region)}
rgw data = {folder}/rgw
rgw enable apis = s3, admin, iam
rgw thread pool size = 16
rgw num rados handles = 1
rgw override bucket index max shards = 1
rgw dynamic resharding = false
rgw trust forwarded https = true
"""
        for region in SPACES_REGIONS
    ]
    return general + "".join(gateways)


def keyring() -> str:
    """Write a keyring with fresh keys of all daemons."""
    capabilities = {
        "mon.": {"mon": "allow *"},
        "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
        "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
    } | {f"client.rgw.{region}": {"mon": "allow rw", "osd": "allow rwx"} for region in SPACES_REGIONS}
    lines = []
    for name, allowed in capabilities.items():
        lines += [f"[{name}]", f"\tkey = {_ceph_key()}"]
        lines += [f'\tcaps {daemon} = "{rule}"' for daemon, rule in allowed.items()]
    return "\n".join(lines) + "\n"


def _ceph_key() -> str:
    """Make a cephx key: type 1 (AES), time of creation, length, 16 random bytes (ceph/src/auth/Crypto.cc)."""
    return base64.b64encode(struct.pack("<hIIh", 1, int(time.time()), 0, 16) + secrets.token_bytes(16)).decode()


def zone_group(region: str) -> dict[str, Any]:
    """Describe a region as `radosgw-admin zonegroup set` takes it."""
    only = {
        "id": region, "name": region, "endpoints": [], "log_meta": "false", "log_data": "false",
        "bucket_index_max_shards": 1, "read_only": "false", "tier_type": "", "sync_from_all": "true", "sync_from": [],
        "redirect_zone": "",
    }  # fmt: skip
    return {
        "id": region, "name": region, "api_name": region, "is_master": "true", "endpoints": [], "hostnames": [],
        "hostnames_s3website": [], "master_zone": region, "zones": [only],
        "placement_targets": [{"name": "default-placement", "tags": [], "storage_classes": ["STANDARD"]}],
        "default_placement": "default-placement", "realm_id": "",
    }  # fmt: skip


def zone(region: str) -> dict[str, Any]:
    """Describe a region's only zone as `radosgw-admin zone set` takes it."""
    pools = {
        "domain_root": "rgw.meta:{}.root", "control_pool": "rgw.control:{}", "gc_pool": "rgw.log:{}.gc",
        "lc_pool": "rgw.log:{}.lc", "log_pool": "rgw.log:{}.log", "intent_log_pool": "rgw.log:{}.intent",
        "usage_log_pool": "rgw.log:{}.usage", "roles_pool": "rgw.meta:{}.roles", "reshard_pool": "rgw.log:{}.reshard",
        "user_keys_pool": "rgw.meta:{}.users.keys", "user_email_pool": "rgw.meta:{}.users.email",
        "user_swift_pool": "rgw.meta:{}.users.swift", "user_uid_pool": "rgw.meta:{}.users.uid",
        "otp_pool": "rgw.meta:{}.otp", "notif_pool": "rgw.log:{}.notif",
    }  # fmt: skip
    placement = {
        "index_pool": f"rgw.buckets:{region}.index",
        "storage_classes": {"STANDARD": {"data_pool": f"rgw.buckets:{region}.data"}},
        "data_extra_pool": f"rgw.buckets:{region}.non-ec",
        "index_type": 0,
    }
    return {
        "id": region,
        "name": region,
        **{name: pool.format(region) for name, pool in pools.items()},
        "system_key": {"access_key": "", "secret_key": ""},
        "placement_pools": [{"key": "default-placement", "val": placement}],
        "realm_id": "",
    }


def account(world: World) -> dict[str, Any]:
    """Describe the account's user as `radosgw-admin metadata put` takes it."""
    key = {"user": ACCOUNT, "access_key": world.spaces_access_key, "secret_key": world.spaces_secret_key}
    rights = {"users": "*", "buckets": "*", "metadata": "*", "user-policy": "*", "zone": "read"}
    return {
        "data": {
            "user_id": ACCOUNT,
            "display_name": ACCOUNT,
            "email": "",
            "suspended": 0,
            "max_buckets": 1000,
            "subusers": [],
            "keys": [key],
            "swift_keys": [],
            "caps": [{"type": name, "perm": right} for name, right in rights.items()],
            "op_mask": "read, write, delete",
            "default_placement": "",
            "default_storage_class": "",
            "placement_tags": [],
            "temp_url_keys": [],
            "type": "rgw",
            "mfa_ids": [],
        }
    }
