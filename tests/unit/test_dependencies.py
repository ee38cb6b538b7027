"""What a project's dependency files say: the same as uv makes of them."""

import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from config import ROOT
from config.project import requirements
from config.project.dependencies import Dependencies, applies
from config.project.lock import read_lock
from config.project.requirements import read_requirements
from tests.unit.projects import HEAD, package, project


def locked(folder: Path, *packages: str, head: str = HEAD, python: str = "3.13") -> Dependencies:
    """What is read of a lock of these packages."""
    (folder / "uv.lock").write_text(head + "".join(packages))
    return read_lock(folder, python)


def required(folder: Path, content: str | bytes, python: str = "3.13") -> Dependencies:
    """What is read of a requirements.txt."""
    (folder / "requirements.txt").write_bytes(content.encode() if isinstance(content, str) else content)
    return read_requirements(folder, python)


# uv.lock


def test_a_lock_has_what_its_project_brings(tmp_path: Path) -> None:
    """Through any number of others, with the extras that are asked for and no others."""
    found = locked(
        tmp_path,
        project("shop", "meta", more='\n[package.dev-dependencies]\ndev = [\n    { name = "ipython" },\n]\n'),
        package("meta", "gunicorn", '{ name = "psycopg", extra = ["binary"] }'),
        package("gunicorn", "packaging"),
        package("packaging"),
        package(
            "psycopg",
            more='\n[package.optional-dependencies]\nbinary = [\n    { name = "psycopg-binary" },\n]\n'
            'c = [\n    { name = "psycopg-c" },\n]\n',
        ),
        *map(package, ("psycopg-binary", "psycopg-c", "ipython")),
    )
    assert found.names == {"meta", "gunicorn", "packaging", "psycopg", "psycopg-binary"}
    assert found.elsewhere == {'the dependency group "dev"': {"ipython"}}
    assert (found.is_complete, found.problems) == (True, ())


@pytest.mark.parametrize(
    ("marker", "is_there"),
    [
        ("sys_platform == 'win32'", False),
        ("sys_platform != 'win32'", True),
        ("platform_machine == 'aarch64'", False),
        ("python_full_version < '3.13'", False),
        ("python_full_version >= '3.13.4'", True),  # which patch release there will be is not known
        ("implementation_name != 'pypy'", True),
        ("extra == 'extra-4-shop-web'", True),  # a conflict between extras: who knows
        ("nonsense", True),
    ],
)
def test_a_marker_is_asked_of_a_droplet(tmp_path: Path, marker: str, *, is_there: bool) -> None:
    """Not of the machine that plans; what can't be told counts as there."""
    entry = f'{{ name = "gunicorn", marker = "{marker}" }}'
    found = locked(tmp_path, project("shop", "meta"), package("meta", entry), package("gunicorn"))
    assert ("gunicorn" in found.names) == is_there


@pytest.mark.parametrize(
    ("default", "is_installed"),
    [
        ("", False),
        ('default-groups = ["dev"]', False),
        ('default-groups = ["live"]', True),
        ('default-groups = "all"', True),
    ],
)
def test_a_group_is_installed_where_the_project_says_so(tmp_path: Path, default: str, *, is_installed: bool) -> None:
    """By default-groups, of which uv leaves out `dev` alone."""
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "shop"\n[tool.uv]\n{default}\n')
    groups = (
        '\n[package.dev-dependencies]\ndev = [\n    { name = "ipython" },\n]\nlive = [\n    { name = "gunicorn" },\n]\n'
    )
    found = locked(tmp_path, project("shop", more=groups), package("gunicorn"), package("ipython"))
    assert ("gunicorn" in found.names) == is_installed
    assert ('the dependency group "live"' in found.elsewhere) != is_installed
    assert "ipython" not in found.names


def test_a_workspace_without_a_project_installs_its_members(tmp_path: Path) -> None:
    """All of them, and not the groups of its root; with a project, that one alone."""
    head = (
        HEAD
        + '\n[manifest]\nmembers = [\n    "site",\n    "tools",\n]\n'
        + '\n[manifest.dependency-groups]\nweb = [{ name = "gunicorn" }]\n'
    )
    members = (project("site", "django", place="site"), project("tools", "rich", place="tools"))
    index = (package("django"), package("rich"), package("gunicorn"))
    found = locked(tmp_path, *members, *index, head=head)
    assert found.names == {"django", "rich"}
    assert found.elsewhere == {'the dependency group "web"': {"gunicorn"}}
    assert locked(tmp_path, project("root", "gunicorn"), *members, *index, head=head).names == {"gunicorn"}


def test_a_package_without_a_wheel_for_a_droplet_is_built(tmp_path: Path) -> None:
    """One for Windows, macOS or another processor is none."""
    wheels = {
        "psycopg2": "cp313-cp313-win_amd64",
        "pillow": "cp313-cp313-manylinux_2_27_x86_64.manylinux_2_28_x86_64",
        "lxml": "cp313-cp313-manylinux_2_28_aarch64",
        "django": "py3-none-any",
    }
    found = locked(tmp_path, project("shop", *wheels), *(package(name, wheel=tag) for name, tag in wheels.items()))
    assert found.from_source == {"psycopg2", "lxml"}


@pytest.mark.parametrize(
    "text",
    ["[[package]", "package = 3\n", '[[package]]\nversion = "1"\n', "\0"],
)
def test_a_lock_that_is_none_is_one_problem(tmp_path: Path, text: str) -> None:
    """It is the user's file: no traceback, and nothing else is said of it."""
    (tmp_path / "uv.lock").write_text(text)
    found = read_lock(tmp_path, "3.13")
    assert [problem.partition(" got ")[0] for problem in found.problems] == ["must be valid,"]
    assert found.problems[0].endswith("; run `uv lock` there")
    assert (found.names, found.is_complete) == (frozenset(), False)


@pytest.mark.parametrize("text", ["", HEAD, '[[package]]\nname = "a"\n'])
def test_a_lock_without_a_project_says_nothing(tmp_path: Path, text: str) -> None:
    """Nor is it refused: what is in a form that nobody knows yet, uv may read."""
    (tmp_path / "uv.lock").write_text(text)
    assert read_lock(tmp_path, "3.13") == Dependencies(file="uv.lock")


def test_a_lock_of_300_packages_takes_no_time(tmp_path: Path) -> None:
    """Each preview reads it: the addresses of files, most of the text, are not parsed."""
    names = [f"package-{number}" for number in range(300)]
    wheels = "".join(
        f'    {{ url = "https://files.example/package-1.0-cp3{version}-{system}.whl", hash = "sha256:{"0" * 64}" }},\n'
        for version in range(10, 15)
        for system in ("macosx_11_0_arm64", "manylinux_2_17_x86_64", "musllinux_1_2_x86_64", "win_amd64", "win32")
    )
    packages = [package(name).replace("wheels = [\n", f"wheels = [\n{wheels}") for name in names]
    (tmp_path / "uv.lock").write_text(HEAD + project("shop", *names) + "".join(packages))
    assert (tmp_path / "uv.lock").stat().st_size > 1_000_000
    started = time.process_time()
    found = read_lock(tmp_path, "3.13")
    assert (
        time.process_time() - started < 0.5
    )  # 0.04 s on the slowest machine that was tried; tomllib alone takes 0.7 s
    assert found.names == set(names)


# requirements.txt

PLAIN = "django==5.2\ngunicorn\npsycopg[binary]\n"


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (PLAIN, {"django", "gunicorn", "psycopg", "psycopg-binary"}),
        (
            "# all\r\nDjango==5.2  # LTS\r\n\r\n  Gunicorn [gevent] >= 20 ; python_version > '3'\r\n",
            {"django", "gunicorn"},
        ),
        ("psycopg2_Binary\npsycopg[c, pool]", {"psycopg2-binary", "psycopg", "psycopg-c", "psycopg-pool"}),
        ("gunicorn==27.0.1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n", {"gunicorn"}),
        ("gunicorn; sys_platform == 'win32'\nwaitress; sys_platform != 'win32'", {"waitress"}),
        ("gunicorn @ https://files.example/gunicorn.whl\n", {"gunicorn"}),
        ("https://files.example/gunicorn-27.0.1-py3-none-any.whl\n", {"gunicorn"}),
        ("git+https://code.example/gunicorn@main#egg=gunicorn\n", {"gunicorn"}),
        (
            "vendor/gunicorn-27.0.1.tar.gz\n./vendor/psycopg2_binary-2.9-cp313-none-any.whl",
            {"gunicorn", "psycopg2-binary"},
        ),
        ("-i https://index.example\n--pre\n--extra-index-url=https://b.example\n-f ./vendor\ndjango", {"django"}),
        ("gunicorn>=20,\n", {"gunicorn"}),  # uv takes it
    ],
)
def test_names_are_read_of_every_kind_of_line(tmp_path: Path, content: str, names: set[str]) -> None:
    """Comments, options, hashes, markers, addresses and archives."""
    found = required(tmp_path, content)
    assert (found.names, found.problems) == (names, ())


@pytest.mark.parametrize(
    ("content", "is_complete"),
    [
        (PLAIN, True),
        ("django\nwhitenoise\ndj-database-url\n", True),
        ("django\nour-platform\n", False),  # it may bring Gunicorn
        ("django[argon2]\ncelery[redis]\n", True),
        ("django\nwagtail[testing]\n", False),
        ("asgiref==3.13\ndjango==5.2\nour-platform==3\nsqlparse==0.6\n", True),  # `pip freeze` leaves nothing out
        ("asgiref==3.13\ndjango>=5.2\nour-platform==3\nsqlparse==0.6\n", False),
        ("django\ngit+https://code.example/our/platform\n", False),
        ("django\n-r https://files.example/more.txt\n", False),
        ("django\n-e .\n", False),  # nobody knows what its build says
        ("django\n./vendor/platform-1.0-py3-none-any.whl\n", False),
    ],
)
def test_a_list_is_complete_where_nothing_can_bring_more(tmp_path: Path, content: str, *, is_complete: bool) -> None:
    """Then what is not in it is not installed."""
    assert required(tmp_path, content).is_complete == is_complete


def test_plain_packages_are_names_in_order() -> None:
    """As uv has them, so that each is found, and none is there twice."""
    names = requirements._PLAIN.read_text().split()
    assert names == sorted({canonicalize_name(name) for name in names})


def test_files_are_included(tmp_path: Path) -> None:
    """From where the line is, in a ring too; constraints install nothing."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/live.txt").write_text("-r base.txt\n-c pins.txt\ngunicorn\n")
    (tmp_path / "requirements/base.txt").write_text("--requirement=../requirements.txt\ndjango\n")
    (tmp_path / "requirements/pins.txt").write_text("psycopg==3\n")
    found = required(tmp_path, "-r requirements/live.txt  # all\n")
    assert (found.names, found.problems, found.is_complete) == ({"gunicorn", "django"}, (), True)


def test_a_local_project_brings_its_own_list(tmp_path: Path) -> None:
    """As it is written in pyproject.toml, with the extras that are asked for; a dynamic one is not written down."""
    text = (
        '[project]\nname = "Our.Shop"\nversion = "1"\ndependencies = ["gunicorn"]\n'
        '[project.optional-dependencies]\nlive = ["psycopg[binary]"]\n'
    )
    (tmp_path / "pyproject.toml").write_text(text)
    found = required(tmp_path, "-e .[live]\ndjango\n")
    assert found.names == {"our-shop", "gunicorn", "psycopg", "psycopg-binary", "django"}
    assert found.is_complete
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "shop"\ndynamic = ["version", "dependencies"]\n')
    assert not required(tmp_path, "-e .\ndjango\n").is_complete


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("-r base.txt\n", "must include files that are there, got base.txt (No such file or directory)"),
        ("-c nowhere/pins.txt\n", "must include files that are there, got nowhere/pins.txt"),
        ("-r ../base.txt\n", "must include files of app.path alone, which is all that a release has, got ../base.txt"),
        ("-r /etc/hosts\n", "must include files of app.path alone, which is all that a release has, got /etc/hosts"),
        (b"django # caf\xe9\n", "must be UTF-8, or UTF-16 with a byte-order mark, requirements.txt is not"),
        (
            "--extra-index-url https://__token__:${PACKAGES_TOKEN}@packages.example/simple\ndjango\n",
            "must need nothing of the environment, takes ${PACKAGES_TOKEN} from it",
        ),
        (
            "ours @ git+https://${GIT_TOKEN}@code.example/ours\n",
            "must need nothing of the environment, takes ${GIT_TOKEN}",
        ),
    ],
)
def test_what_uv_would_refuse_on_a_droplet_is_a_problem(tmp_path: Path, content: str | bytes, problem: str) -> None:
    """Where there is nothing but the folder, and nothing of app.env."""
    (found,) = required(tmp_path, content).problems
    assert found.startswith(problem)
    assert "; " in found


@pytest.mark.parametrize("variable", ["PROJECT_ROOT", "HOME", "UV_INDEX", "lower_case"])
def test_a_variable_that_the_build_has_is_none(tmp_path: Path, variable: str) -> None:
    """Nor is what uv takes for plain text."""
    assert required(tmp_path, f"-e file://${{{variable}}}/x\n").problems == ()


@pytest.mark.parametrize(
    ("mark", "encoding", "is_taken"),
    [
        ("", "utf-8", True),
        ("\ufeff", "utf-8", True),
        ("\ufeff", "utf-16-le", True),  # PowerShell's `pip freeze > requirements.txt`
        ("\ufeff", "utf-16-be", True),
        ("", "utf-16-le", False),
        ("", "latin-1", False),
    ],
)
def test_a_file_is_decoded_as_uv_decodes_it(tmp_path: Path, mark: str, encoding: str, *, is_taken: bool) -> None:
    """The real uv is asked, too: what it can't read has no names."""
    found = required(tmp_path, f"{mark}# Grüße\r\nno-such-package==1\r\n".encode(encoding))
    command = ["uv", "pip", "install", "--offline", "--dry-run", "--no-config", "--python", sys.executable, "-r"]
    done = subprocess.run([*command, "requirements.txt"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ("no-such-package was not found" in done.stderr) == is_taken, done.stderr
    assert ("no-such-package" in found.names) == is_taken


def test_a_marker_is_read_once() -> None:
    """Locks have the same few again and again."""
    applies.cache_clear()
    for _ in range(5):
        assert not applies("os_name == 'nt'", "3.13")
    assert applies.cache_info().misses == 1


def test_a_lock_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """As uv reads it, which is asked: an editor on Windows may have put it there."""
    folder = ROOT / "tests/projects/files"
    for name in ("pyproject.toml", "uv.lock"):
        (tmp_path / name).write_text("\ufeff" + (folder / name).read_text())
    command = ["uv", "export", "--frozen", "--no-dev", "--offline", "--no-config", "--no-hashes", "--no-annotate"]
    exported = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    found = read_lock(tmp_path, "3.13")
    assert (found, found.problems) == (read_lock(folder, "3.13"), ())
    assert found.names <= set(re.findall(r"(?m)^([a-z0-9-]+)==", exported))


@pytest.mark.parametrize("folder", [".", "app", "tests/projects/files"])
@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_a_lock_has_what_uv_finds_in_it(folder: str, python: str) -> None:
    """The real one is asked, about each lock of this repository."""
    platform = ("--python-version", python, "--python-platform", "x86_64-unknown-linux-gnu")
    name = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]["name"]
    command = ["uv", "tree", "--frozen", "--no-dev", "--offline", "--no-config", "--package", name, *platform]
    tree = subprocess.run(command, cwd=ROOT / folder, capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"(?:^|── )([a-z0-9-]+)(?:\[[^]]*\])? v", tree, re.MULTILINE)) - {name}
    assert len(known) > 5
    assert read_lock(ROOT / folder, python).names == known
