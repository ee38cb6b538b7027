import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from protocol.release import artifact_key
from provider.actions import ActionError
from provider.uploads import project_files as files
from provider.uploads import spaces_client
from provider.uploads.archive import CONTENT_TYPE, chunks
from provider.uploads.artifact import ArtifactProvider, members
from provider.uploads.project_files import project_files
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


def build(app: Path) -> tuple[bytes, str]:
    """The archive of a tree, and its digest."""
    body = b"".join(chunks(members(project_files(app))))
    return body, hashlib.sha256(body).hexdigest()


def entries(body: bytes) -> dict[str, tarfile.TarInfo]:
    """Read an archive as a Droplet does."""
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:") as archive:
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
    assert build(app)[1] == "3c64580ccdfc6492442b1fad635078272a28d3d6bc3e84b6230439a975faa042"


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
    assert (entries(body)["manage.py"].mode, entries(body)["mysite/wsgi.py"].mode) == (0o755, 0o644)


def test_nothing_of_this_machine_is_in_the_archive(app: Path) -> None:
    """Owners and times are nobody's business on the Droplet."""
    for info in entries(build(app)[0]).values():
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
    assert entries(build(app)[0])["mysite/run.py"].linkname == "../manage.py"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside"])
def test_a_link_that_leaves_the_tree_is_refused(app: Path, target: str) -> None:
    """It would lead to nothing, or to something of the Droplet's."""
    (app / "link").symlink_to(target)
    with pytest.raises(ActionError, match=f"^app.path: a link must stay inside the app, link leads to {target}; copy"):
        build(app)


def test_something_that_is_no_file_is_refused(app: Path) -> None:
    """Reading a pipe would never end."""
    os.mkfifo(app / "pipe")
    with pytest.raises(ActionError, match="files, folders and links only"):
        build(app)


def test_a_tree_with_data_in_it_is_refused(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads in the app's directory would be released with each version."""
    monkeypatch.setattr(files, "MAX_BYTES", 5)
    with pytest.raises(ActionError, match=r"app\.path: must be at most"):
        build(app)


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
    client = spaces_client.spaces_client(buckets.region, spaces_client.credentials())
    stored = client.get_object(Bucket=buckets.releases, Key=inputs["key"])
    assert (stored["Body"].read(), stored["ContentType"]) == (build(app)[0], "application/x-tar")


def test_the_settings_count_when_it_is_built_again(app: Path, buckets: Buckets) -> None:
    """An update packs the files itself: by the same two settings, or it would find another tree than the preview."""
    write(app, {".gitignore": "dist/", "dist/app.js": "x", "docs/index.md": "x"})
    exclude, include = ["docs/"], ["dist/"]
    body = b"".join(chunks(members(project_files(app, exclude, include))))
    sha256 = hashlib.sha256(body).hexdigest()
    inputs = props(app, buckets) | {"sha256": sha256, "key": artifact_key(sha256)}
    with pytest.raises(ActionError, match="must not change during the update"):
        ArtifactProvider().create(inputs)
    ArtifactProvider().create(inputs | {"exclude": exclude, "include": include})
    stored = entries(buckets.body(buckets.releases, inputs["key"]))
    assert {"dist/app.js", "manage.py"} < stored.keys()
    assert "docs" not in stored


def test_all_that_is_wrong_is_the_plugins_one_error(app: Path) -> None:
    """As the program says it, for a tree that has become wrong since."""
    (app / "a").symlink_to("/a")
    (app / "b").symlink_to("/b")
    with pytest.raises(ActionError, match=r"^app\.path: .* a leads to /a; .*\napp\.path: .* b leads to /b; .*$"):
        build(app)


class Unreliable(BaseHTTPRequestHandler):
    """Spaces, of which the first answer to an upload goes wrong."""

    protocol_version = "HTTP/1.1"
    requests: list[tuple[str, int, bytes]]
    cut: int | None  # bytes after which the first upload's connection ends; None: it is taken, and answered 503

    def do_HEAD(self) -> None:
        """Have nothing."""
        self._answer(404)

    def do_PUT(self) -> None:
        """Take an object."""
        length = int(self.headers["Content-Length"])
        first = not self.requests
        body = self.rfile.read(self.cut if first and self.cut is not None else length)
        self.requests.append((self.path, length, body))
        if first and self.cut is not None:
            self.close_connection = True
        else:
            self._answer(503 if first else 200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        """Say nothing."""


@pytest.fixture(params=[None, 300_000])
def unreliable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Unreliable]]:
    """Serve unreliable Spaces for one test, in place of those of `buckets`."""
    request.getfixturevalue("buckets")
    handler = type("Handler", (Unreliable,), {"requests": [], "cut": request.param})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setattr(spaces_client, "spaces_endpoint", lambda _region: f"http://127.0.0.1:{server.server_port}")
        spaces_client.spaces_client.cache_clear()
        yield handler
        server.shutdown()
        spaces_client.spaces_client.cache_clear()


def test_an_upload_that_is_interrupted_is_repeated_whole(
    app: Path, buckets: Buckets, unreliable: type[Unreliable]
) -> None:
    """From the start of the file; each try is one request, which is the whole object or none of it."""
    (app / "large").write_bytes(os.urandom(2_000_000))
    inputs = props(app, buckets)
    ArtifactProvider().create(inputs)
    body = build(app)[0]
    taken = body if unreliable.cut is None else body[: unreliable.cut]
    path = f"/{buckets.releases}/{inputs['key']}"
    assert unreliable.requests == [(path, len(body), taken), (path, len(body), body)]


# Uploads a small app, which loads all modules, then a large one, and prints how many bytes that one took at once.
UPLOAD = """
import sys, tracemalloc
from botocore.config import Config
from provider.uploads import spaces_client
from provider.uploads.archive import digest
from protocol.release import artifact_key
from provider.uploads.artifact import ArtifactProvider, members
from provider.uploads.project_files import project_files
from pathlib import Path
endpoint, bucket, *apps = sys.argv[1:]
spaces_client.spaces_endpoint = lambda region: endpoint
spaces_client.CLIENT_CONFIG = spaces_client.CLIENT_CONFIG.merge(Config(s3={"addressing_style": "path"}))
for app in apps:
    tracemalloc.start()
    sha256 = digest(members(project_files(Path(app))))
    inputs = {"bucket": bucket, "region": "nyc3", "path": app, "sha256": sha256, "key": artifact_key(sha256)}
    ArtifactProvider().create(inputs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
print(peak)
"""


def test_a_large_tree_is_uploaded_in_little_memory(
    app: Path, buckets: Buckets, spaces_endpoint: str, tmp_path: Path
) -> None:
    """A runner has less memory than an app may have files: 100 MiB of them take less than 4 MiB."""
    large = write(tmp_path / "large", {"manage.py": "#!"})
    for number in range(4):
        with (large / f"data-{number}").open("wb") as file:
            file.truncate(25 * 2**20)
    argv = [sys.executable, "-c", UPLOAD, spaces_endpoint, buckets.releases, str(app), str(large)]
    peak = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parents[2]).stdout
    assert len(buckets.keys(buckets.releases)) == 2
    assert int(peak) < 4 * 2**20


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
    buckets.client.put(buckets.releases, inputs["key"], b"first upload", CONTENT_TYPE)
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
