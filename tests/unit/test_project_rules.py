"""What a preview says of the project that is to be deployed: it is taken, or the fix that fits it is said."""

from pathlib import Path

import pytest

from config.loading import parse
from config.project import rules
from config.project.rules import project_hints
from tests.unit.projects import HEAD, MODULES, PLAIN, PROJECT, notes, package, problems, stack, the_problem, write
from tests.unit.projects import project as root

POETRY = '[tool.poetry]\nname = "shop"\n'
EXPORT = "`uv export --frozen --no-dev --no-emit-workspace -o shop/requirements.txt`"


# Where the project is


@pytest.mark.parametrize(
    ("below", "path"),
    [("shop", ""), ("backend", ""), ("src/site", ""), ("shop", "docs")],
    ids=lambda value: value or ".",
)
def test_a_project_below_or_beside_is_named(tmp_path: Path, below: str, path: str) -> None:
    """As the setting would have it, and what has to be in the same folder."""
    write(tmp_path, {f"{below}/{name}": text for name, text in MODULES.items()})
    write(tmp_path, {"requirements.txt": PLAIN, "docs/index.md": ""})
    folder = tmp_path / path
    problem = the_problem(stack(folder))
    if path:
        assert problem.endswith("which has no manage.py; a relative path starts where Pulumi.yaml is")
    else:
        fix = f"; set app.path: {folder}/{below}; a release has what is below app.path alone: copy requirements.txt of "
        assert problem.endswith(f"which has no manage.py{fix}{folder} to {below}")


def test_a_project_above_is_named(tmp_path: Path) -> None:
    """Who names the package instead of the folder of manage.py."""
    write(tmp_path, MODULES | {"requirements.txt": PLAIN})
    assert the_problem(stack(tmp_path / "shop")).endswith(f"which has no manage.py; set app.path: {tmp_path}")


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Not that something is missing in it."""
    problem = the_problem(stack(tmp_path / "shop"))
    assert problem == (
        f'app.path: must be a folder, got "{tmp_path}/shop", which is none; a relative path starts where Pulumi.yaml is'
    )


def test_several_projects_below_are_named(tmp_path: Path) -> None:
    """Which of them is meant is not guessed."""
    for name in ("api", "site"):
        write(tmp_path / name, MODULES | {"requirements.txt": PLAIN})
    assert the_problem(stack(tmp_path)).endswith(f"; set app.path: {tmp_path}/api, or app.path: {tmp_path}/site")


@pytest.mark.parametrize(
    ("file", "text", "fix"),
    [
        ("requirements.txt", PLAIN, "copy requirements.txt of {0} to shop"),
        (
            "uv.lock",
            HEAD,
            f"make it a requirements.txt by {EXPORT} in {{0}}; in a workspace with --package and its name",
        ),
    ],
)
def test_dependencies_above_are_brought_beside_the_project(tmp_path: Path, file: str, text: str, fix: str) -> None:
    """A release has nothing of what is above, and a second lock would be another one."""
    write(tmp_path / "shop", MODULES)
    write(tmp_path, {file: text})
    assert the_problem(stack(tmp_path / "shop")) == (
        f'app.path: must hold uv.lock or requirements.txt, got "{tmp_path}/shop"; '
        f"a release has what is below app.path alone: {fix.format(tmp_path)}"
    )


@pytest.mark.parametrize(
    ("files", "fix"),
    [
        (
            {"poetry.lock": "", "pyproject.toml": POETRY},
            "poetry.lock is not read: run `poetry export -o requirements.txt`",
        ),
        ({"Pipfile.lock": "", "Pipfile": ""}, "Pipfile.lock is not read: run `pipenv requirements > requirements.txt`"),
        (
            {"pdm.lock": "", "pyproject.toml": PROJECT},
            "pdm.lock is not read: run `pdm export --prod -o requirements.txt`",
        ),
        ({"requirements.in": "django"}, "run `uv pip compile requirements.in -o requirements.txt` there"),
        (
            {"requirements/base.txt": PLAIN, "requirements/dev.txt": "", "requirements/production.txt": PLAIN},
            'make a requirements.txt there with the line "-r requirements/production.txt"',
        ),
        ({"requirements-dev.txt": PLAIN}, "or in a pyproject.toml (`uv init --bare`, "),
        ({"requirements-prod.txt": PLAIN}, 'make a requirements.txt there with the line "-r requirements-prod.txt"'),
        ({"pyproject.toml": PROJECT}, "run `uv lock` there"),
        (
            {"setup.py": "", "pyproject.toml": "[tool.ruff]\n"},
            "run `uv pip compile setup.py -o requirements.txt` there",
        ),
        ({"setup.cfg": ""}, "run `uv pip compile setup.cfg -o requirements.txt` there"),
        ({}, "name its dependencies in a requirements.txt, or in a pyproject.toml (`uv init --bare`, "),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_other_tools_leave_is_turned_into_a_dependency_file(
    tmp_path: Path, files: dict[str, str], fix: str
) -> None:
    """By the command of the tool that the project uses."""
    write(tmp_path, MODULES | files)
    problem = the_problem(stack(tmp_path))
    assert problem.startswith(f'app.path: must hold uv.lock or requirements.txt, got "{tmp_path}"; ')
    assert fix in problem


WORKSPACE = '[tool.uv.workspace]\nmembers = ["shop"]\n'


@pytest.mark.parametrize(
    ("above", "fix"),
    [
        ({"uv.lock": HEAD, "pyproject.toml": WORKSPACE}, "in a workspace with --package and its name"),
        ({"uv.lock": HEAD, "pyproject.toml": PROJECT}, "run `uv lock` there"),
        ({"requirements.txt": PLAIN}, "run `uv lock` there"),
    ],
    ids=["workspace", "another project", "another list"],
)
def test_a_project_of_its_own_has_a_lock_above_in_a_workspace_alone(
    tmp_path: Path, above: dict[str, str], fix: str
) -> None:
    """What else is above is of something else."""
    write(tmp_path / "shop", MODULES | {"pyproject.toml": PROJECT})
    write(tmp_path, above)
    assert the_problem(stack(tmp_path / "shop")).endswith(fix)


def test_the_lock_of_this_program_is_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project in a folder beside Pulumi.yaml is not told to use it; a list there may be its own."""
    write(tmp_path / "shop", MODULES)
    write(tmp_path, {"uv.lock": HEAD})
    monkeypatch.setattr(rules, "ROOT", tmp_path)
    assert "name its dependencies in a requirements.txt" in the_problem(stack(tmp_path / "shop"))
    write(tmp_path, {"requirements.txt": PLAIN})
    assert the_problem(stack(tmp_path / "shop")).endswith(f"copy requirements.txt of {tmp_path} to shop")


def test_an_earlier_release_needs_no_project(tmp_path: Path) -> None:
    """It is what it was, so that one can go back from a folder in any state."""
    assert problems(stack(tmp_path, release="0a1b2c3d-4e5f6a7b")) == ()


# What a release installs


def test_a_list_without_gunicorn_and_psycopg_is_refused(tmp_path: Path) -> None:
    """Nothing that is in it could bring them."""
    write(tmp_path, MODULES | {"requirements.txt": "django\nwhitenoise\n"})
    assert the_problem(stack(tmp_path)) == (
        "app.path: its requirements.txt must have gunicorn and psycopg among what a release installs, got none; "
        'add the lines "gunicorn" and "psycopg[binary]" to requirements.txt'
    )
    write(tmp_path, {"requirements.txt": "django\npsycopg2-binary\n"})
    assert the_problem(stack(tmp_path)).endswith('got none; add the line "gunicorn" to requirements.txt')


def test_a_list_that_may_bring_them_is_warned_of(tmp_path: Path) -> None:
    """What an unknown package brings is not known before it is installed."""
    write(tmp_path, MODULES | {"requirements.txt": "django\nour-platform\npsycopg[binary]\n"})
    (note,) = notes(stack(tmp_path))
    assert note == (
        "app.path: its requirements.txt must have gunicorn among what a release installs, got none; "
        'add the line "gunicorn" to requirements.txt, unless another package there brings it'
    )


def test_a_file_that_nothing_includes_is_named(tmp_path: Path) -> None:
    """Gunicorn is where other hosts are told to look for it."""
    files = {"requirements.txt": "django\n", "requirements/dev.txt": PLAIN, "requirements/live.txt": PLAIN}
    write(tmp_path, MODULES | files)
    assert the_problem(stack(tmp_path)).endswith(
        'got them in requirements/live.txt alone; add the line "-r requirements/live.txt" to requirements.txt'
    )


@pytest.mark.parametrize("name", ["psycopg", "psycopg2", "psycopg2-binary"])
def test_each_psycopg_is_one(tmp_path: Path, name: str) -> None:
    """Django takes all of them."""
    write(tmp_path, MODULES | {"uv.lock": HEAD + root("shop", "gunicorn", name) + package("gunicorn") + package(name)})
    settings = stack(tmp_path)
    settings["web"]["packages"] = ["libpq5"]
    assert problems(settings) == ()


def test_a_lock_without_them_is_refused(tmp_path: Path) -> None:
    """With uv's own command; or with another one, where the project has been changed since."""
    lock = HEAD + root("shop", "django") + package("django")
    write(tmp_path, MODULES | {"uv.lock": lock, "pyproject.toml": PROJECT})
    assert the_problem(stack(tmp_path)) == (
        "app.path: its uv.lock must have gunicorn and psycopg among what a release installs, got none; "
        "run `uv add gunicorn 'psycopg[binary]'` there"
    )
    changed = PROJECT.replace('["django"]', '["django", "gunicorn", "psycopg[binary]"]')
    write(tmp_path, {"pyproject.toml": changed})
    assert the_problem(stack(tmp_path)).endswith("got none; pyproject.toml has it by now: run `uv lock` there")


GROUP = '\n[package.dev-dependencies]\n{0} = [\n    {{ name = "gunicorn" }},\n    {{ name = "psycopg2-binary" }},\n]\n'
EXTRA = GROUP.replace("dev-dependencies", "optional-dependencies")


@pytest.mark.parametrize(
    ("place", "more", "fix"),
    [
        (
            'the dependency group "prod"',
            GROUP.format("prod"),
            ', or put default-groups = ["dev", "prod"] below [tool.uv] in pyproject.toml',
        ),
        ('the dependency group "dev"', GROUP.format("dev"), ""),
        ('the extra "production"', EXTRA.format("production"), ""),
    ],
)
def test_a_group_or_an_extra_is_named(tmp_path: Path, place: str, more: str, fix: str) -> None:
    """Nothing else is installed than [project.dependencies], and the project's own default groups."""
    lock = (
        HEAD + root("shop", "django", more=more) + package("django") + package("gunicorn") + package("psycopg2-binary")
    )
    write(tmp_path, MODULES | {"uv.lock": lock, "pyproject.toml": PROJECT})
    assert the_problem(stack(tmp_path)) == (
        "app.path: its uv.lock must have gunicorn and psycopg among what a release installs, "
        f"got them in {place} alone; only [project.dependencies] of pyproject.toml are installed: "
        f"run `uv add gunicorn 'psycopg[binary]'` there{fix}"
    )
    if fix:
        write(tmp_path, {"pyproject.toml": PROJECT + '[tool.uv]\ndefault-groups = ["dev", "prod"]\n'})
        assert problems(stack(tmp_path)) == ()


def test_a_token_in_the_list_is_refused(tmp_path: Path) -> None:
    """The build has none of the app's variables, and must not send their names to an index."""
    line = "--extra-index-url https://__token__:${PACKAGES_TOKEN}@packages.example/simple\n"
    write(tmp_path, MODULES | {"requirements.txt": line + PLAIN})
    problem = the_problem(stack(tmp_path, secrets={"PACKAGES_TOKEN": "hunter2"}))
    assert "takes ${PACKAGES_TOKEN} from it, and the build of a release has none of app.env and app.secrets" in problem
    assert "hunter2" not in problem


# What the packages need of Debian


def test_a_psycopg_without_libpq_is_refused(tmp_path: Path) -> None:
    """Where nothing could have brought it; it may be there with another package, or in a snapshot."""
    settings = stack(write(tmp_path, MODULES | {"requirements.txt": "django\ngunicorn\npsycopg\n"}))
    assert the_problem(settings) == (
        "web.packages: must have libpq5 for a psycopg without its extra binary, got none; "
        "add libpq5, or let the project depend on psycopg[binary]"
    )
    settings["web"]["packages"] = ["libmagic1t64"]
    assert notes(settings) == [
        "web.packages: psycopg without its extra binary loads libpq; libpq5 brings it, if nothing else does"
    ]
    settings["web"]["packages"] = ["libpq5"]
    assert notes(settings) == []
    settings["web"] = {"size": "s-1vcpu-1gb", "image": "123456"}
    assert notes(settings) == []


@pytest.mark.parametrize("extra", ["psycopg[binary]", "psycopg[pool,binary]", "psycopg\npsycopg2-binary"])
def test_a_psycopg_that_has_libpq_is_taken(tmp_path: Path, extra: str) -> None:
    """Or for which another driver steps in."""
    settings = stack(write(tmp_path, MODULES | {"requirements.txt": f"django\ngunicorn\n{extra}\n"}))
    assert notes(settings) == []


@pytest.mark.parametrize(
    ("name", "needs"),
    [("psycopg2", "libpq-dev"), ("mysqlclient", "default-libmysqlclient-dev"), ("python-ldap", "libldap2-dev")],
)
def test_what_is_compiled_is_warned_of(tmp_path: Path, name: str, needs: str) -> None:
    """With the Debian packages that it is made of, unless they are there."""
    settings = stack(write(tmp_path, MODULES | {"requirements.txt": f"{PLAIN}{name}\n"}))
    (note,) = notes(settings)
    assert note.startswith(f"web.packages: {name} is compiled where it is installed, which may need build-essential, ")
    assert needs in note
    settings["web"]["packages"] = note.partition("need ")[2].partition(";")[0].split(", ")
    assert notes(settings) == []


@pytest.mark.parametrize(("wheel", "is_built"), [("win_amd64", True), ("manylinux_2_28_x86_64", False)])
def test_a_lock_says_what_is_compiled(tmp_path: Path, wheel: str, *, is_built: bool) -> None:
    """By its wheels: one for a Droplet is installed as it is."""
    packages = package("gunicorn") + package("psycopg2", wheel=f"cp313-cp313-{wheel}")
    write(tmp_path, MODULES | {"uv.lock": HEAD + root("shop", "gunicorn", "psycopg2") + packages})
    compiled = "web.packages: psycopg2 is compiled where it is installed"
    assert [note.partition(",")[0] for note in notes(stack(tmp_path))] == [compiled] * is_built


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("https://code.example/our/platform", ["web.packages"]),
        ("https://token:x@code.example/our/platform", ["web.packages"]),
        ("ssh://git@code.example/our/platform", ["web.packages", "app.path"]),
    ],
)
@pytest.mark.parametrize("file", ["uv.lock", "requirements.txt", "-e"])
def test_what_is_fetched_with_git_is_warned_of(tmp_path: Path, file: str, address: str, said: list[str]) -> None:
    """A Droplet has no Git, and no key for it; a password in the address is not shown."""
    source = 'source = { registry = "https://index.example/simple" }'
    locked = package("platform").replace(source, f'source = {{ git = "{address}?rev=main#00ff" }}')
    files = {
        "uv.lock": HEAD + root("shop", "gunicorn", "psycopg2-binary", "platform") + locked + package("gunicorn"),
        "requirements.txt": f"{PLAIN}platform @ git+{address}@main ; os_name == 'posix'\n",
        "-e": f"{PLAIN}-e git+{address}@main#egg=platform\n",
    }
    write(tmp_path, MODULES | {"requirements.txt" if file == "-e" else file: files[file]})
    settings = stack(tmp_path)
    assert [note.partition(":")[0] for note in notes(settings)] == said
    assert "code.example/our/platform" in notes(settings)[0]
    assert "token" not in str(notes(settings))
    settings["web"]["packages"] = ["git"]
    assert [note.partition(":")[0] for note in notes(settings)] == said[1:]


# Python


@pytest.mark.parametrize(
    ("required", "fix"),
    [
        (">=3.12.4,<3.13", 'set app.python: "3.12"'),
        (">=3.11,<3.13", 'set app.python: "3.12"'),
        (">=3.14", 'set app.python: "3.14"'),
        ("==3.11.*", 'set app.python: "3.11"'),
        ("<3.9", "change it to one of 3.11, 3.12, 3.13, 3.14, 3.15"),
    ],
)
@pytest.mark.parametrize("file", ["pyproject.toml", "uv.lock"])
def test_a_python_that_fits_is_named(tmp_path: Path, file: str, required: str, fix: str) -> None:
    """The nearest to the Droplet's own."""
    text = (
        f'[project]\nname = "shop"\nrequires-python = "{required}"\n'
        if file == "pyproject.toml"
        else f'version = 1\nrequires-python = "{required}"\n'
    )
    write(tmp_path, MODULES | {"requirements.txt": PLAIN, file: text})
    whose = "the project's" if file == "pyproject.toml" else "uv.lock's"
    assert the_problem(stack(tmp_path)) == (
        f"app.python: must fit {whose} requires-python ({required}), got none, which is the Droplet's own 3.13; {fix}"
    )


def test_a_pyproject_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """As uv does."""
    write(
        tmp_path, MODULES | {"requirements.txt": PLAIN, "pyproject.toml": f'\ufeff{PROJECT}requires-python = ">=3.14"'}
    )
    assert the_problem(stack(tmp_path)).endswith('set app.python: "3.14"')


@pytest.mark.parametrize(
    ("wanted", "app", "is_said"),
    [
        ("3.12\n", {}, True),
        ("3.12.4", {}, True),
        ("3.13", {}, False),
        ("3.12", {"python": "3.12"}, False),
        ("", {}, False),
    ],
)
def test_another_python_of_the_developers_is_a_hint(
    tmp_path: Path, wanted: str, app: dict[str, str], *, is_said: bool
) -> None:
    """Nothing is wrong with it, but it may not be meant."""
    write(tmp_path, MODULES | {"requirements.txt": PLAIN, ".python-version": wanted})
    hint = (
        "app.python: the project's .python-version says 3.12, a release runs on the Droplet's own 3.13; "
        'app.python: "3.12" takes the other'
    )
    assert list(project_hints(parse(stack(tmp_path, **app)))) == [hint] * is_said
