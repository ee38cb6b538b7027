"""What a preview says of the files that go into a release, and of those that do not."""

from pathlib import Path

import pytest

from provider.uploads.project_files import project_files
from provider.uploads.release_contents import Contents, contents
from tests.unit.test_project_files import write


def said(app: Path, *ignored: str) -> Contents:
    """What is said of a project with a .gitignore of these lines."""
    write(app, "manage.py", text="x" * 2**20)
    write(app, ".gitignore", text="\n".join(ignored))
    return contents(project_files(app))


def test_a_project_from_which_nothing_is_left_out(tmp_path: Path) -> None:
    """How much goes, and no more words."""
    assert said(tmp_path) == Contents("2 files of the app, 1.0 MiB, go into a release", "", "")


def test_what_is_left_out_is_told_by_kind_and_shortly(tmp_path: Path) -> None:
    """The worst first: three of a kind by name, the others by their number, caches by what they are called."""
    write(tmp_path, ".env", "a/.env.prod", "db.sqlite3", *(f"log-{number}/a" for number in range(5)))
    write(tmp_path, "a/__pycache__/b.pyc", "c/__pycache__/d.pyc", ".git/config")
    assert said(tmp_path, "log-*/").left == (
        "left out: secrets: .env, a/.env.prod; databases and uploads: db.sqlite3; "
        "ignored by git: log-0/, log-1/, log-2/ and 2 more; history, caches and the like: .git/, __pycache__/"
    )


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("dist/", "web/dist/assets/app-1a2b.js"),
        ("build/", "build/static/css/site.css"),
        ("static/bundles", "static/bundles/main.js"),
        ("*.mo", "locale/de/LC_MESSAGES/django.mo"),
        ("webpack-stats.json", "webpack-stats.json"),
        ("/theme/static/css/dist/", "theme/static/css/dist/styles.css"),
        ("tailwind.css", "shop/static/tailwind.css"),
        ("locale/", "locale/de/LC_MESSAGES/django.mo"),
    ],
)
def test_what_looks_built_and_is_ignored_is_named(tmp_path: Path, line: str, name: str) -> None:
    """What `npm run build` or `compilemessages` has made is not taken along by itself; said until it is included."""
    write(tmp_path, name)
    found = said(tmp_path, line)
    named = found.built.removeprefix("left out, but built, so the app may need it: ")
    assert name.startswith(named.partition(";")[0].rstrip("/"))
    assert found.built.endswith("; name it in app.include if it does")
    assert contents(project_files(tmp_path, (), [name])).built in {"", found.built}
    assert contents(project_files(tmp_path, (), [named.partition(";")[0]])).built == ""


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("staticfiles/", "staticfiles/admin/js/core.js"),
        ("collected/", "collected/site.css"),
        ("public/", "public/staticfiles.json"),
        ("public/", "public/admin/css/base.css"),
        ("htmlcov/", "htmlcov/style.css"),
        ("docs/_build/", "docs/_build/html/search.js"),
        ("logs/", "logs/a.txt"),
        ("dist/", "dist/shop-1.0-py3-none-any.whl"),
        ("local.py", "shop/local.py"),
        (".cache-of-mine/", ".cache-of-mine/a.js"),
        ("env/", "env/pyvenv.cfg"),
        ("node_modules/", "node_modules/x/index.js"),
    ],
)
def test_what_the_app_does_not_need_is_not(tmp_path: Path, line: str, name: str) -> None:
    """A warning each time would be read by nobody: what collectstatic makes anew, reports, logs, packages."""
    write(tmp_path, name)
    assert said(tmp_path, line).built == ""


def test_a_large_folder_is_not_searched_to_its_end(tmp_path: Path) -> None:
    """Preview is not to wait for that."""
    write(tmp_path, *(f"data/{number:04}.txt" for number in range(400)), "data/zzz/app.js")
    assert said(tmp_path, "data/").built == ""
