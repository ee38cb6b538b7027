import gzip
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider import artifact
from provider.actions import ActionError
from provider.artifact import ArtifactProvider, artifact_key, build, stored_gzip
from tests.unit.conftest import Buckets


def write(root: Path, files: dict[str, str]) -> Path:
    """Write a tree."""
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Make a small Django project."""
    files = {"manage.py": "#!", "requirements.txt": "django\n", "mysite/settings.py": "", "mysite/wsgi.py": ""}
    return write(tmp_path / "app", files)


def members(body: bytes) -> dict[str, tarfile.TarInfo]:
    """Read an archive as a Droplet does."""
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as archive:
        return {info.name: info for info in archive.getmembers()}


def test_the_same_tree_is_the_same_bytes(app: Path, tmp_path: Path) -> None:
    """Another checkout has other times, another order, and modes by another umask."""
    other = write(tmp_path / "other", {str(f.relative_to(app)): f.read_text() for f in app.rglob("*") if f.is_file()})
    for file in other.rglob("*"):
        os.utime(file, (1, 1))
        file.chmod(0o700 if file.is_dir() else 0o600)
    assert build(other) == build(app)


def test_the_digest_is_the_one_that_it_was_on_every_machine(app: Path) -> None:
    """A known answer: it changes with the archive's format only, and then every stack gets a new release."""
    assert build(app)[1] == "82e987a5f4c75851790d84fa9764c5bf420197043b3078bd45eb29954528bb70"


@pytest.mark.parametrize(("name", "text"), [("mysite/new.py", ""), ("manage.py", "#!x"), ("mysite/wsgi.py", "changed")])
def test_any_change_is_another_digest(app: Path, name: str, text: str) -> None:
    """What isn't seen isn't released."""
    before = build(app)[1]
    write(app, {name: text})
    assert build(app)[1] != before


def test_the_executable_bit_is_kept(app: Path) -> None:
    """It is the only part of the mode that means something to the app."""
    before = build(app)[1]
    (app / "manage.py").chmod(0o755)
    body, digest = build(app)
    assert digest != before
    assert (members(body)["manage.py"].mode, members(body)["mysite/wsgi.py"].mode) == (0o755, 0o644)


def test_nothing_of_this_machine_is_in_the_archive(app: Path) -> None:
    """Owners and times are nobody's business on the Droplet."""
    for info in members(build(app)[0]).values():
        assert (info.mtime, info.uid, info.gid, info.uname, info.gname) == (0, 0, 0, "", "")


@pytest.mark.parametrize(
    "name",
    [
        ".git/config",
        "mysite/__pycache__/wsgi.cpython-313.pyc",
        "mysite/old.pyc",
        ".venv/bin/python",
        "node_modules/x/index.js",
        "db.sqlite3",
        "db.sqlite3-journal",
        ".env",
        ".env.local",
        "mysite/.env",
    ],
)
def test_local_things_are_left_out(app: Path, name: str) -> None:
    """A local secret or database never reaches a bucket."""
    before = build(app)
    write(app, {name: "local"})
    assert build(app) == before


def test_an_empty_directory_is_no_change(app: Path) -> None:
    """Git doesn't know it; Python leaves some behind when a branch is switched."""
    before = build(app)
    (app / "removed_app" / "migrations").mkdir(parents=True)
    assert build(app) == before


def test_a_link_inside_the_tree_stays_a_link(app: Path) -> None:
    """Tar can hold it, and it leads to the same file on the Droplet."""
    (app / "mysite" / "run.py").symlink_to("../manage.py")
    assert members(build(app)[0])["mysite/run.py"].linkname == "../manage.py"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside"])
def test_a_link_that_leaves_the_tree_is_refused(app: Path, target: str) -> None:
    """It would lead to nothing, or to something of the Droplet's."""
    (app / "link").symlink_to(target)
    with pytest.raises(ActionError, match=f"must stay inside the app, {app}/link leads to {target}; copy"):
        build(app)


def test_something_that_is_no_file_is_refused(app: Path) -> None:
    """Reading a pipe would never end."""
    os.mkfifo(app / "pipe")
    with pytest.raises(ActionError, match="files, directories and links only"):
        build(app)


def test_a_tree_with_data_in_it_is_refused(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads in the app's directory would be released with each version."""
    monkeypatch.setattr(artifact, "MAX_BYTES", 5)
    with pytest.raises(ActionError, match=r"app\.path: must be at most"):
        build(app)


@given(content=st.binary(max_size=300))
def test_stored_gzip_is_gzip(content: bytes) -> None:
    """Any reader takes it."""
    assert gzip.decompress(stored_gzip(content)) == content


@pytest.mark.parametrize("size", [0, 1, 0xFFFE, 0xFFFF, 0x10000, 2 * 0xFFFF, 2 * 0xFFFF + 1])
def test_stored_gzip_is_gzip_at_the_edges_of_its_blocks(size: int) -> None:
    """A block has at most 65535 bytes, and the last one is marked."""
    content = os.urandom(size)
    assert gzip.decompress(stored_gzip(content)) == content


def props(app: Path, buckets: Buckets) -> dict[str, Any]:
    """Return the inputs of an artifact."""
    sha256 = build(app)[1]
    return {
        "bucket": buckets.releases,
        "region": buckets.region,
        "path": str(app),
        "sha256": sha256,
        "key": artifact_key(sha256),
    }


def test_the_archive_is_uploaded_under_its_digest(app: Path, buckets: Buckets) -> None:
    """What the Droplet downloads is what was built."""
    inputs = props(app, buckets)
    created = ArtifactProvider().create(inputs)
    assert buckets.keys(buckets.releases) == [inputs["key"]]
    assert created.outs == inputs


def test_a_changed_tree_is_uploaded_beside_the_old_one(app: Path, buckets: Buckets) -> None:
    """A rollback needs the old one."""
    old = props(app, buckets)
    ArtifactProvider().create(old)
    write(app, {"manage.py": "new"})
    new = props(app, buckets)
    ArtifactProvider().update("id", old, new)
    assert buckets.keys(buckets.releases) == sorted([old["key"], new["key"]])


def test_what_is_there_is_not_uploaded_again(app: Path, buckets: Buckets) -> None:
    """The object under the digest is left alone: its tree need not even be there any more."""
    inputs = props(app, buckets)
    buckets.client.put(buckets.releases, inputs["key"], b"first upload", "application/gzip")
    ArtifactProvider().create(inputs | {"path": "/nonexistent"})
    assert buckets.body(buckets.releases, inputs["key"]) == b"first upload"


def test_a_tree_that_changes_meanwhile_is_refused(app: Path, buckets: Buckets) -> None:
    """Preview showed another one."""
    inputs = props(app, buckets)
    write(app, {"manage.py": "new"})
    with pytest.raises(ActionError, match="must not change during the update"):
        ArtifactProvider().create(inputs)
    assert buckets.keys(buckets.releases) == []


def test_another_place_of_the_same_tree_is_no_change() -> None:
    """CI's checkout and a laptop's release the same thing."""
    olds = {"bucket": "b", "region": "r", "path": "app", "sha256": "1"}
    assert ArtifactProvider().diff("id", olds, olds | {"path": "elsewhere"}).changes is False


@pytest.mark.parametrize(("name", "replaces"), [("sha256", []), ("bucket", ["bucket"]), ("region", ["region"])])
def test_another_tree_updates_and_another_bucket_replaces(name: str, replaces: list[str]) -> None:
    """Preview says `update` for a new version of the app."""
    olds = {"bucket": "b", "region": "r", "path": "app", "sha256": "1"}
    diff = ArtifactProvider().diff("id", olds, olds | {name: "other"})
    assert (diff.changes, diff.replaces) == (True, replaces)


def test_refresh_finds_an_object_that_was_deleted_by_hand(app: Path, buckets: Buckets) -> None:
    """Then the next update uploads it again."""
    inputs = props(app, buckets)
    assert ArtifactProvider().read("id", inputs).id is None
    ArtifactProvider().create(inputs)
    assert ArtifactProvider().read("id", inputs).id == "id"


def test_missing_keys_are_said_with_the_way_to_give_them(
    app: Path, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a pair is none."""
    monkeypatch.delenv("SPACES_SECRET_ACCESS_KEY")
    with pytest.raises(ActionError, match=r"export SPACES_ACCESS_KEY_ID and SPACES_SECRET_ACCESS_KEY"):
        ArtifactProvider().create(props(app, buckets))


def test_a_missing_bucket_is_said(app: Path, buckets: Buckets) -> None:
    """S3's own words, the bucket and the fix."""
    with pytest.raises(ActionError, match=r"no-such/artifacts.*could not write it.*pulumi refresh"):
        ArtifactProvider().create(props(app, buckets) | {"bucket": "no-such"})
