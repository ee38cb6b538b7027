"""Settings: what is accepted, what is refused, and that one run names everything that is wrong."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pulumi.runtime
import pytest
import yaml

from config import ROOT, rules
from config.loading import load, parse
from config.problems import ConfigError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder that looks like a Django project."""
    (tmp_path / "mysite").mkdir()
    for file in ("manage.py", "mysite/__init__.py", "mysite/settings.py", "mysite/wsgi.py"):
        (tmp_path / file).touch()
    (tmp_path / "requirements.txt").write_text("django\ngunicorn\npsycopg[binary]\n")
    return tmp_path


@pytest.fixture
def settings(project: Path) -> dict[str, Any]:
    """The least that a stack must say."""
    return {
        "name": "shop-dev",
        "region": "fra1",
        "domain": "shop.example",
        "database": {"size": "db-s-2vcpu-4gb"},
        "web": {"size": "s-1vcpu-1gb"},
        "app": {"path": str(project)},
    }


@pytest.fixture
def restored() -> Iterator[None]:
    """Leave no settings of this test to the next one."""
    yield
    pulumi.runtime.set_all_config({})


def problems(settings: dict[str, Any]) -> tuple[str, ...]:
    """Every problem of these settings."""
    with pytest.raises(ConfigError) as caught:
        parse(settings)
    return caught.value.problems


def changed(settings: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """Settings with one value changed, named by its path."""
    copy: dict[str, Any] = json.loads(json.dumps(settings))
    *parents, last = path.split(".")
    section = copy
    for parent in parents:
        section = section.setdefault(parent, {})
    section[last] = value
    return copy


def test_the_least_settings_have_safe_defaults(settings: dict[str, Any]) -> None:
    """Protected, closed, nothing destroyed by accident, sizes from the plans."""
    parsed = parse(settings)
    assert parsed.protect
    assert not parsed.storage.force_destroy
    assert parsed.network.ssh_from == ()
    assert parsed.database.trusted_sources == ()
    assert parsed.cors_origins == ("https://shop.example",)
    assert parsed.storage.cors.max_age == 600
    assert parsed.url == "https://shop.example"
    budget = parsed.connection_budget
    assert (budget.max_connections, budget.reserved, budget.pool_size) == (100, 5, 95)
    assert (budget.workers, budget.threads, budget.clients) == (2, 4, 16)


@pytest.mark.parametrize("stack", ["local", "dev", "staging", "prod"])
def test_the_stacks_of_this_repository_are_valid(stack: str) -> None:
    """What is tracked can be brought up."""
    document = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())
    parse({key.removeprefix("django-do:"): value for key, value in document["config"].items()})


def test_local_differs_in_sizes_names_and_named_switches_only() -> None:
    """No endpoint, no credentials, nothing that only a sandbox would understand."""
    local, dev = (yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"] for stack in ("local", "dev"))

    def flat(value: object, path: str = "") -> dict[str, object]:
        if not isinstance(value, dict):
            return {path: value}
        return {key: leaf for name, part in value.items() for key, leaf in flat(part, f"{path}.{name}").items()}

    one, other = flat(local), flat(dev)
    differing = {path for path in one.keys() | other.keys() if one.get(path) != other.get(path)}
    assert differing <= {
        ".django-do:name",
        ".django-do:domain",
        ".django-do:network.cidr",
        ".django-do:database.size",
        ".django-do:web.size",
        ".django-do:protect",
        ".django-do:storage.forceDestroy",
        ".django-do:dns",
    }


@pytest.mark.usefixtures("restored")
def test_load_reads_sections_and_secrets_from_pulumi(settings: dict[str, Any]) -> None:
    """Structured values come as JSON text, plain ones as text, secrets decrypted."""
    settings["app"]["secrets"] = {"API_KEY": "hunter2"}
    settings["protect"] = "false"
    pulumi.runtime.set_all_config(
        {f"django-do:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
        | {"digitalocean:token": "not ours to read"}
    )
    loaded = load()
    assert loaded.protect is False
    assert loaded.database.size == "db-s-2vcpu-4gb"
    assert loaded.app.secrets["API_KEY"].get_secret_value() == "hunter2"
    assert "hunter2" not in repr(loaded)


@pytest.mark.usefixtures("restored")
def test_load_names_a_misspelt_section(settings: dict[str, Any]) -> None:
    """A section that nobody asks for would otherwise be ignored in silence."""
    settings["databse"] = settings.pop("database")
    pulumi.runtime.set_all_config(
        {f"django-do:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
    )
    with pytest.raises(ConfigError) as caught:
        load()
    assert any("databse: unknown setting; did you mean database?" in problem for problem in caught.value.problems)
    assert any("database: required, but not set" in problem for problem in caught.value.problems)


@pytest.mark.usefixtures("restored")
def test_load_explains_plain_text_where_a_section_belongs(settings: dict[str, Any]) -> None:
    """`pulumi config set pool 20` instead of `--path pool.size`."""
    settings["pool"] = "big"
    pulumi.runtime.set_all_config(
        {f"django-do:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
    )
    with pytest.raises(ConfigError) as caught:
        load()
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["pool"]


@pytest.mark.parametrize(
    "wrong", sorted((ROOT / "tests/unit/wrong_settings").glob("*.yaml")), ids=lambda path: path.stem
)
def test_wrong_settings_are_explained(wrong: Path) -> None:
    """Each file begins with the messages for its mistakes, all of them, in comments: path, rule, value, fix."""
    text = wrong.read_text()
    expected = tuple(line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))
    document = yaml.safe_load(text)["config"]
    found = problems({key.removeprefix("django-do:"): value for key, value in document.items()})
    assert found == expected
    assert all(";" in problem for problem in found), "a fix is missing"


def test_a_python_must_fit_the_project(settings: dict[str, Any], project: Path) -> None:
    """What the project says of itself is believed: the named version, or else the Droplet's own."""
    (project / "pyproject.toml").write_text('[project]\nname = "shop"\nrequires-python = ">=3.12.4,<3.13"\n')
    (problem,) = problems(settings)
    assert problem == (
        "app.python: must fit the project's requires-python (>=3.12.4,<3.13), "
        'got none, which is the Droplet\'s own 3.13; set app.python: "3.12"'
    )
    settings["app"]["python"] = "3.11"
    (problem,) = problems(settings)
    assert problem.startswith('app.python: must fit the project\'s requires-python (>=3.12.4,<3.13), got "3.11"; ')
    settings["app"]["python"] = 3.12
    assert parse(settings).app.python == "3.12"


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14", "3.15"])
def test_each_python_with_security_support_is_taken(settings: dict[str, Any], python: str) -> None:
    """As YAML has it without quotes, too: a number."""
    settings["app"]["python"] = float(python)
    assert parse(settings).app.python == python


@pytest.mark.parametrize(
    "text", ["[project", '[project]\nrequires-python = "newest"', "[project]\nrequires-python = 3", "project = 1"]
)
def test_a_broken_pyproject_is_one_problem(settings: dict[str, Any], project: Path, text: str) -> None:
    """It is the user's file: a message, no traceback."""
    (project / "pyproject.toml").write_text(text)
    (problem,) = problems(settings)
    assert problem.startswith("app.path: its pyproject.toml must be valid, got ")


def test_a_domain_in_its_form_in_the_dns_is_taken(settings: dict[str, Any]) -> None:
    """What the refusal of a name with an umlaut says to write."""
    settings["domain"] = "xn--mller-kva.example"
    assert parse(settings).url == "https://xn--mller-kva.example"


def test_a_complete_production_is_taken(settings: dict[str, Any]) -> None:
    """With everything that `production` requires."""
    settings |= {"production": True, "alerts": {"email": ["a@shop.example"]}}
    settings["database"]["nodes"] = 2
    settings["web"]["backups"] = True
    assert parse(settings).production


def test_the_stacks_of_this_repository_can_share_an_account() -> None:
    """Their names and networks differ, which `network.cidr` checks for every stack that is run."""
    documents = [yaml.safe_load(path.read_text())["config"] for path in ROOT.glob("Pulumi.*.yaml")]
    assert len(documents) == 4
    for key in ("name", "domain"):
        assert len({document[f"django-do:{key}"] for document in documents}) == 4


def test_missing_settings_are_named() -> None:
    """An empty stack says what it needs."""
    paths = [problem for problem in problems({}) if "required, but not set" in problem]
    assert [path.partition(":")[0] for path in paths] == ["name", "region", "domain", "database", "web"]


def test_too_many_clients_are_refused_with_the_sum(settings: dict[str, Any]) -> None:
    """PgBouncer accepts 1,000 clients, however few backends they share."""
    settings["web"] |= {"workers": 64, "threads": 8}
    (problem,) = problems(settings)
    assert "64 workers x 8 threads x (1 + 1 surge) Droplets = 1024 of 1000 clients" in problem


@pytest.mark.parametrize("where", ["secrets", "env"])
def test_a_rejected_secret_is_not_shown(settings: dict[str, Any], where: str) -> None:
    """By no error message, also when it got into `app.env` by mistake."""
    settings["app"][where] = {"TOKEN": ["hunter2"]}
    (problem,) = problems(settings)
    assert problem.startswith(f"app.{where}.TOKEN: ")
    assert "hunter2" not in problem


def test_a_variable_is_either_plain_or_secret(settings: dict[str, Any]) -> None:
    """Which of two values wins is not left to chance."""
    settings["app"] |= {"env": {"TOKEN": "a"}, "secrets": {"TOKEN": "b"}}
    assert problems(settings) == ("app.env.TOKEN: is also in app.secrets; keep one of them",)


def test_numbers_are_text_where_text_belongs(settings: dict[str, Any]) -> None:
    """`version: 17` and `WORKERS: 3` are what people write in YAML."""
    settings["database"]["version"] = 17
    settings["app"]["env"] = {"LIMIT": 3, "OFFSET": -12345678901234567}
    settings["app"]["secrets"] = {"PIN": 1234}
    parsed = parse(settings)
    assert parsed.database.version == "17"
    assert parsed.app.env == {"LIMIT": "3", "OFFSET": "-12345678901234567"}
    assert parsed.app.secrets["PIN"].get_secret_value() == "1234"


def test_booleans_are_text_where_text_belongs(settings: dict[str, Any]) -> None:
    """`DJANGO_DEBUG: false`, as people write it and `pulumi config set --path` does; YAML 1.1's words stay words."""
    settings["app"] |= {"env": {"DJANGO_DEBUG": False, "CACHE": True, "LOGS": "off"}, "secrets": {"BETA": True}}
    parsed = parse(settings)
    assert parsed.app.env == {"DJANGO_DEBUG": "false", "CACHE": "true", "LOGS": "off"}
    assert parsed.app.secrets["BETA"].get_secret_value() == "true"


@pytest.mark.parametrize(
    ("written", "handed_over"),
    [("010", 8), ("0o17", 15), ("0x1F", 31), ("1_000", 1000), ("1e3", 1000), ("+5", 5), ("0900", 900), ("True", True)],
)
def test_what_yaml_has_rewritten_is_found_in_the_stacks_own_file(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, handed_over: object
) -> None:
    """Pulumi hands over what YAML makes of it; how it was written is in the file alone, and is not shown."""
    monkeypatch.setattr(rules, "ROOT", tmp_path)
    section = "secrets" if written == "0900" else "env"
    file = tmp_path / "Pulumi.prod.yaml"
    network = "  django-do:network:\n    cidr: 10.99.0.0/20\n"
    text = f"config:\n  django-do:name: shop-dev\n{network}  django-do:app:\n    {{0}}:\n      CODE: {{1}}\n"
    file.write_text(text.format(section, written))
    settings["app"][section] = {"CODE": handed_over}
    (problem,) = problems(settings)
    assert problem == (
        f"app.{section}.CODE: must be in quotes, since YAML writes it another way than Pulumi.prod.yaml; "
        'write CODE: "…"'
    )
    for fine in (f'"{written}"', json.dumps(handed_over), "other"):
        file.write_text(text.format(section, fine))
        parse(settings)
    file.write_text(text.format(section, written).replace("shop-dev", "another"))
    parse(settings)


@pytest.mark.parametrize("text", ["", "config", "config: [1]", "\t", "config: {"])
def test_a_file_of_another_form_says_nothing_of_quotes(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """What is wrong with it, Pulumi says."""
    monkeypatch.setattr(rules, "ROOT", tmp_path)
    (tmp_path / "Pulumi.prod.yaml").write_text(text)
    settings["app"]["env"] = {"LIMIT": 3}
    assert parse(settings).app.env == {"LIMIT": "3"}


def test_an_app_needs_locked_dependencies(settings: dict[str, Any], project: Path) -> None:
    """The release agent builds from one of two files."""
    (project / "requirements.txt").unlink()
    (problem,) = problems(settings)
    assert problem.startswith("app.path: must hold uv.lock or requirements.txt, got")


def test_what_is_wrong_with_the_tree_is_told_with_the_settings(settings: dict[str, Any], project: Path) -> None:
    """All of it in one run; a release of before is made of nothing that is here."""
    for name, target in {"a": "b", "b": "a", "env": "/usr/bin"}.items():
        (project / name).symlink_to(target)
    settings["web"]["size"] = "s-one"
    found = problems(settings)
    assert [problem.partition(";")[0] for problem in found[1:]] == [
        "app.path: a link must lead to a file or a folder, a leads to b in a ring",
        "app.path: a link must lead to a file or a folder, b leads to a in a ring",
        "app.path: a link must stay inside the app, env leads to /usr/bin",
    ]
    assert found[0].startswith("web.size: ")
    settings["web"]["size"] = "s-1vcpu-1gb"
    settings["app"]["exclude"] = ["a", "b"]
    (project / ".gitignore").write_text("env\n")
    assert parse(settings).app.files.problems == []
    settings["app"] |= {"exclude": [], "release": "0a1b2c3d-4e5f6a7b"}
    assert parse(settings).app.release == "0a1b2c3d-4e5f6a7b"


@pytest.mark.parametrize(
    ("line", "path", "rule"),
    [
        ("requirements.txt", "path", "take requirements.txt along"),
        ("settings.py", "settings", 'name a module that is released, got "mysite.settings", and mysite/settings.py'),
        ("mysite/", "wsgi", 'name a module that is released, got "mysite.wsgi", and mysite/wsgi.py'),
    ],
)
def test_what_a_release_needs_must_not_be_ignored(
    settings: dict[str, Any], project: Path, line: str, path: str, rule: str
) -> None:
    """A lock that git ignores is a library's habit; settings that it ignores are a habit of production's."""
    (project / ".gitignore").write_text(f"{line}\n")
    expected = (
        f"app.{path}: must {rule}, which is left out: " if path == "path" else f"app.{path}: must {rule} is left out: "
    )
    assert f"{expected}git ignores it (`{line}`); name it in app.include" in problems(settings)
    settings["app"]["include"] = [line]
    assert parse(settings).app.files.files == 6


def test_one_lock_is_enough(settings: dict[str, Any], project: Path) -> None:
    """Of two that are there, one may be left out."""
    (project / "uv.lock").touch()
    settings["app"]["exclude"] = ["uv.lock"]
    assert parse(settings).app.files.why_left_out("uv.lock") == "app.exclude has `uv.lock`"
