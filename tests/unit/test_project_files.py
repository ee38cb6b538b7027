"""Which files of a project go into a release, which never do, and what is refused."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from provider.uploads import project_files as module
from provider.uploads.left_out import Kind
from provider.uploads.project_files import project_files

PRIVATE = "-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
PUBLIC = "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A small project."""
    return write(tmp_path / "app", "manage.py", "requirements.txt", "shop/__init__.py", "shop/settings.py")


SMALL = {"manage.py", "requirements.txt", "shop/__init__.py", "shop/settings.py"}


def write(root: Path, *names: str, text: str = "") -> Path:
    """Write files."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def goes(app: Path, exclude: Sequence[str] = (), include: Sequence[str] = ()) -> set[str]:
    """What goes beside the small project, without the folders; nothing is wrong."""
    found = project_files(app, exclude, include)
    assert found.problems == []
    return {name for name in found.names if (app / name).is_symlink() or not (app / name).is_dir()} - SMALL


def kinds(app: Path) -> dict[str, Kind]:
    """What is left out, and why."""
    return {name: left.kind for name, left in project_files(app).left.items()}


@pytest.mark.parametrize(
    "name",
    [
        *(".env", ".env.local", ".env-production", ".envrc", ".envs/.production/.django", "shop/.env", "web.env"),
        *("deploy/id_rsa", "deploy/id_ed25519", ".ssh/config", ".aws/credentials", ".netrc", ".pgpass", "shop.p12"),
    ],
)
@pytest.mark.parametrize("ignored", ["", "*", "!*"])
def test_a_secret_never_goes(app: Path, name: str, ignored: str) -> None:
    """Whatever git is told about it, and whatever else `app.include` has."""
    write(app, name, text="SECRET_KEY=x")
    if ignored:
        write(app, ".gitignore", text=f"{name}\n" if ignored == "*" else f"!{name}\n")
    top = name.partition("/")[0] if name.startswith((".envs", ".ssh", ".aws")) else name
    assert kinds(app) == {top: Kind.SECRET}
    assert name not in goes(app, include=["*", f"*{name[-3:]}", "shop/", "deploy*/"] if "/" in name else ["*"])


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("tls/site.pem", CERTIFICATE + PRIVATE, Kind.SECRET),
        ("tls/site.pem", "x" * 1000 + PRIVATE.replace("PRIVATE", "EC PRIVATE"), Kind.SECRET),
        ("tls/ca.pem", CERTIFICATE, None),
        ("tls/site.crt", CERTIFICATE, None),
        ("AuthKey_1.p8", PRIVATE, Kind.SECRET),
        ("account.json", '{"private_key": "' + PRIVATE.replace("\n", "\\n") + '"}', Kind.SECRET),
        ("package.json", '{"name": "shop"}', None),
        ("tls/site.key", PRIVATE, Kind.SECRET),
        ("secret.key", "gAAAAABl", Kind.SECRET),
        ("jwt/public.key", PUBLIC, None),
        ("jwt/both.key", PUBLIC + PRIVATE, Kind.SECRET),
        ("shop/models.db", "SQLite format 3\0", Kind.DATA),
        ("shop/words.db", "of Berkeley", None),
        ("docs.pem/readme", "a folder", None),
        ("deploy_key", PRIVATE.replace("PRIVATE", "OPENSSH PRIVATE"), Kind.SECRET),
        ("signing.asc", PRIVATE.replace("KEY-", "KEY BLOCK-"), Kind.SECRET),
        ("Procfile", "web: gunicorn", None),
        ("ID_RSA", "", Kind.SECRET),
    ],
)
def test_a_key_is_told_from_a_certificate_by_what_is_in_it(app: Path, name: str, text: str, kind: Kind | None) -> None:
    """Packages bring certificates that they need."""
    write(app, name, text=text)
    assert kinds(app) == ({name: kind} if kind else {})


@pytest.mark.parametrize(
    "name",
    [
        *("db.sqlite3", "db.sqlite3-journal", "shop/test.sqlite", "db.sqlite3.old", "backup.sql", "shop/old.sql.gz"),
        *("pg.dump", "media/avatars/1.png", "uploads/a.pdf", "shop/media/avatars/1.png", "shop/uploads/a.pdf"),
    ],
)
def test_data_never_goes(app: Path, name: str) -> None:
    """A release is code: what people have stored is in the database and the Space."""
    write(app, name)
    top = re.sub("(media|uploads)/.*", r"\1", name)
    assert kinds(app) == {top: Kind.DATA}
    assert goes(app) == set()


@pytest.mark.parametrize(
    "name",
    [
        *(".env.example", ".env.sample", ".env-template", ".env.dist", "example.env", "shop/migrations/0002_view.sql"),
        *("media/__init__.py", "shop/media/site.css", "environment.py", "envs/base.txt", "monkey.py", "key", "logs.py"),
        *("shop/media/__init__.py", "shop/uploads/models.py", "shop/media/js/shop.js", "theme/uploads/a.png"),
        *("shop/templates/media/list.html", "shop/static/media/logo.png", "frontend/media/logo.png"),
    ],
)
def test_what_only_sounds_like_it_goes(app: Path, name: str) -> None:
    """Examples to fill in, an app of Django's that is called `media`, SQL of a migration, pictures of a theme."""
    assert goes(write(app, name)) == {name}


@pytest.mark.parametrize("name", ["env", "myenv", ".virtualenvs/shop", "shop/e"])
def test_an_environment_of_any_name_is_left_out(app: Path, name: str) -> None:
    """With its links to the machine's Python, which are never looked at; git needs to say nothing."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", app / name], check=True)
    assert (app / name / "bin" / "python").is_symlink()
    assert kinds(app) == {name: Kind.LOCAL}
    assert goes(app) == set()


def test_a_project_that_is_an_environment_itself_is_said(app: Path) -> None:
    """Made by `python -m venv .`: which of its folders are the project's nobody knows."""
    write(app, "pyvenv.cfg")
    [problem] = project_files(app).problems
    assert problem.startswith(f"app.path: must not be a virtual environment itself, {app} has pyvenv.cfg; make the ")


LOCAL = (".git/config", ".hg/store", "node_modules/x.js", "a/__pycache__/b.pyc", ".idea/a.xml", "a/debug.log", "a.pyc")


def test_history_and_caches_are_left_out(app: Path) -> None:
    """Also where git is told nothing: a line in a log makes no new release."""
    write(app, *LOCAL, "Pulumi.prod.yaml")
    assert goes(app) == set()
    assert {*kinds(app).values()} == {Kind.LOCAL}


def test_what_git_ignores_is_left_out_and_a_setting_brings_it_back(app: Path) -> None:
    """A folder, or a part of one; a pattern reaches into a folder that is left out if it names it."""
    write(app, "dist/a.js", "dist/a.map", "dist/deep/b.js", "logs/a", "shop/de.mo")
    write(app, ".gitignore", text="dist/\nlogs/\n*.mo\n")
    assert goes(app) == {".gitignore"}
    assert goes(app, include=["dist/"]) == {".gitignore", "dist/a.js", "dist/a.map", "dist/deep/b.js"}
    assert goes(app, include=["dist/*.js", "*.mo"]) == {".gitignore", "dist/a.js", "shop/de.mo"}
    assert goes(app, include=["dist/**/*.js"]) == {".gitignore", "dist/a.js", "dist/deep/b.js"}
    assert goes(app, include=["dist/", "!*.map"]) == {".gitignore", "dist/a.js", "dist/deep/b.js"}
    assert goes(app, include=["**/*.js", "*.map"]) == {".gitignore"}


def test_a_setting_leaves_out_and_another_brings_back(app: Path) -> None:
    """What is nearer counts: a file that is named against its folder."""
    write(app, "web/src/a.ts", "web/dist/a.js", "web/dist/a.map", "tests/a.py")
    assert goes(app, exclude=["tests/", "/web"]) == set()
    assert goes(app, exclude=["tests/", "/web"], include=["/web/dist"]) == {"web/dist/a.js", "web/dist/a.map"}
    assert goes(app, exclude=["tests/", "/web", "*.map"], include=["/web/dist"]) == {"web/dist/a.js"}
    assert goes(app, exclude=["*.py", "!a.py"], include=["manage.py"]) >= {"tests/a.py"}


def test_what_never_goes_needs_its_name(app: Path) -> None:
    """A wildcard names nothing, nor does a folder around it; a folder of secrets that is named is whole."""
    write(
        app,
        ".envs/web.env",
        ".envs/.env",
        "conf/id_rsa",
        "conf/a.txt",
        "media/a.png",
        "node_modules/x/node_modules/y.js",
    )
    write(app, "node_modules/x/.env", "node_modules/z.js")
    assert goes(app, include=["*", "conf/", "conf/*", ".envs/*"]) == {"conf/a.txt"}
    assert goes(app, include=["conf/id_rsa"]) == {"conf/a.txt", "conf/id_rsa"}
    assert goes(app, include=[".envs/"]) == {"conf/a.txt", ".envs/web.env", ".envs/.env"}
    assert goes(app, include=[".envs/web.env", "/media"]) == {"conf/a.txt", ".envs/web.env", "media/a.png"}
    assert goes(app, include=["node_modules/z.js"]) == {"conf/a.txt", "node_modules/z.js"}
    every = {"conf/a.txt", "node_modules/x/node_modules/y.js", "node_modules/z.js"}
    assert goes(app, include=["node_modules/"]) == every


def test_a_name_that_is_not_there_is_said(app: Path) -> None:
    """A build that was forgotten, or a slip; a pattern with wildcards may find nothing."""
    write(app, ".gitignore", text="web/\n")
    write(app, "web/out/a.js")
    found = project_files(app, include=["dist/", "*.mo", "!none", "a.js", "web/out/a.js"])
    assert found.problems == [
        f'app.include: must name what is there, got "{name}", which is not; build it first, name the whole way to it, '
        "or leave it out"
        for name in ("dist/", "a.js")
    ]


def test_all_problems_are_told_together(app: Path, tmp_path: Path) -> None:
    """One line each: path, rule, value, fix."""
    write(tmp_path, "outside")
    links = {
        "a": "b",
        "b": "a",
        "shop/self": "self",
        "etc": "/etc/passwd",
        "shop/out": "../../outside",
        "back": "../app",
    }
    for name, target in links.items():
        (app / name).symlink_to(target)
    os.mkfifo(app / "pipe")
    copy, ring, fix = "copy what it leads to", "in a ring; remove it", ", or name it in app.exclude"
    assert sorted(project_files(app).problems) == sorted(
        [
            *(
                f"app.path: a link must lead to a file or a folder, {name} leads to {links[name]} {ring}{fix}"
                for name in ("a", "b", "shop/self")
            ),
            *(
                f"app.path: a link must stay inside the app, {name} leads to {links[name]}; {copy}{fix}"
                for name in ("etc", "shop/out", "back")
            ),
            f"app.path: must hold files, folders and links only, pipe is none of them; remove it{fix}",
        ]
    )
    assert goes(app, exclude=["a", "b", "self", "etc", "out", "back", "pipe"]) == set()
    write(app, ".gitignore", text="/?\nself\netc\nout\nback\npipe\n")
    assert goes(app) == {".gitignore"}


def test_a_link_to_a_folder_is_one_for_the_settings(app: Path, tmp_path: Path) -> None:
    """For git it is none, so that the line that everybody has in .gitignore does not help."""
    (tmp_path / "environments").mkdir()
    (app / "env").symlink_to("../environments")
    write(app, ".gitignore", text="env/\n")
    [problem] = project_files(app).problems
    assert problem.startswith("app.path: a link must stay inside the app, env leads to ../environments; copy what it ")
    assert goes(app, exclude=["env/"]) == {".gitignore"}


def test_a_link_through_another_one_is_followed_as_on_a_droplet(app: Path) -> None:
    """Where the project's folder is all there is: a way out and back again leads nowhere there."""
    write(app, "shop/a/b.txt")
    (app / "one").symlink_to("shop")
    (app / "two").symlink_to("one/a/b.txt")
    (app / "shop" / "up").symlink_to("..")
    (app / "three").symlink_to("shop/up/manage.py")
    (app / "nothing").symlink_to("not-there")
    assert goes(app) == {"one", "two", "three", "nothing", "shop/up", "shop/a/b.txt"}
    (app / "away").symlink_to("one/../../app/manage.py")
    assert [problem.partition(",")[2] for problem in project_files(app).problems] == [
        " away leads to one/../../app/manage.py; copy what it leads to, or name it in app.exclude"
    ]


def test_a_link_to_what_is_left_out_is_left_out(app: Path) -> None:
    """It would lead to nothing; so would one to that link, and a folder that had nothing else."""
    write(app, "node_modules/x/a.js", ".env")
    (app / "vendor").mkdir()
    (app / "vendor" / "x").symlink_to("../node_modules/x")
    (app / "again").symlink_to("vendor/x/a.js")
    (app / "settings.txt").symlink_to(".env")
    found = project_files(app)
    assert {*found.names} == {*SMALL, "shop"}
    assert [name for name, left in found.left.items() if left.kind is Kind.LINK] == [
        "again",
        "settings.txt",
        "vendor/x",
    ]
    assert found.left["vendor/x"].why == "a link to node_modules/x, which is left out"
    assert goes(app, include=["node_modules/x/"]) == {"node_modules/x/a.js", "vendor/x", "again"}


def test_a_folder_that_can_not_be_read_is_said(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it is left out, like that of a database server; root can read all, so the system's answer is made up."""
    write(app, "data/a", "data/b.pem")
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "data":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    write(app, "logs/.gitignore", "env/pyvenv.cfg")
    monkeypatch.setattr(os, "scandir", refusing)
    assert project_files(app).problems == [
        "app.path: must be readable, data is not (Permission denied); change its mode, or name it in app.exclude"
    ]
    assert goes(app, exclude=["data/"]) == {"logs/.gitignore"}


def test_a_submodule_has_its_own_lists(app: Path) -> None:
    """What git ignores in one repository is another's code."""
    write(app, "lib/.git", text="gitdir: ../.git/modules/lib")
    write(app, "lib/build/a.py", "lib/c.tmp", "build/b.py")
    write(app, ".gitignore", text="build/\n")
    write(app, "lib/.gitignore", text="*.tmp\n")
    assert goes(app) == {".gitignore", "lib/.gitignore", "lib/build/a.py"}


def test_too_much_is_said_with_the_largest_files(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it is known what to leave out."""
    monkeypatch.setattr(module, "MAX_BYTES", 2 * 2**20)
    write(app, "a/large.bin", text="x" * 3 * 2**20)
    write(app, "b.bin", text="x" * 2**20)
    [problem] = project_files(app).problems
    assert problem.startswith("app.path: must be at most 2 MiB, is 4 MiB (largest: a/large.bin 3, b.bin 1, ")
    assert problem.endswith("; name in app.exclude what the app does not need")
    assert goes(app, exclude=["*.bin"]) == set()


def test_names_of_any_language_and_bytes(app: Path) -> None:
    """Patterns meet them, and they are shown as one line of text."""
    write(app, "größe.txt", "привет/a.txt", "new\nline")
    (app / os.fsdecode(b"latin\xe9")).touch()
    assert goes(app, exclude=["größe*", "/привет/", "new*"]) == {os.fsdecode(b"latin\xe9")}
    (app / os.fsdecode(b"ring\xe9")).symlink_to(os.fsdecode(b"ring\xe9"))
    (app / "a\x1b[2J.sock").symlink_to("/etc")
    away, problem = project_files(app).problems
    assert "a\N{REPLACEMENT CHARACTER}[2J.sock leads to /etc" in away
    assert "ring\N{REPLACEMENT CHARACTER} leads to ring\N{REPLACEMENT CHARACTER} in a ring" in problem


def test_why_a_file_does_not_go_is_known(app: Path) -> None:
    """For those who need it."""
    write(app, ".gitignore", text="*.lock\n")
    write(app, "uv.lock", ".env", "old/a.py")
    found = project_files(app, exclude=["old/"])
    asked = {name: found.why_left_out(name) for name in ("uv.lock", ".env", "old/a.py", "manage.py", "none")}
    assert asked == {
        "uv.lock": "git ignores it (`*.lock`)",
        ".env": "secrets",
        "old/a.py": "app.exclude has `old/`",
        "manage.py": None,
        "none": None,
    }
