"""Projects in a folder, as the settings of a stack name them: what tests of a preview's rules need."""

from pathlib import Path
from typing import Any

from config.loading import parse
from config.problems import ConfigError
from config.project.rules import project_notes

HEAD = 'version = 1\nrevision = 5\nrequires-python = ">=3.11"\n'
FILES = (
    'sdist = { url = "https://files.example/{0}-1.0.tar.gz", hash = "sha256:00", size = 1 }\n'
    'wheels = [\n    { url = "https://files.example/{0}-1.0-{1}.whl", hash = "sha256:00", size = 1 },\n]\n'
)


def package(name: str, *brings: str, wheel: str = "py3-none-any", more: str = "") -> str:
    """A package of the index, as uv.lock has it; what it brings are entries, or names."""
    entries = [one if one.startswith("{") else f'{{ name = "{one}" }}' for one in brings]
    dependencies = "dependencies = [\n" + "".join(f"    {one},\n" for one in entries) + "]\n" if brings else ""
    files = FILES.replace("{0}", name.replace("-", "_")).replace("{1}", wheel)
    source = 'source = { registry = "https://index.example/simple" }\n'
    return f'\n[[package]]\nname = "{name}"\nversion = "1.0"\n{source}{dependencies}{files}{more}'


def project(name: str, *brings: str, place: str = ".", more: str = "") -> str:
    """A package of the project itself."""
    entries = "".join(f'    {{ name = "{one}" }},\n' for one in brings)
    return (
        f'\n[[package]]\nname = "{name}"\nversion = "1"\nsource = {{ virtual = "{place}" }}\n'
        f"dependencies = [\n{entries}]\n{more}"
    )


PLAIN = "django==5.2.19\ngunicorn==27.0.1\npsycopg[binary]==3.3.9\ndj-database-url==3.1.2\n"
MODULES = {"manage.py": "", "shop/__init__.py": "", "shop/settings.py": "", "shop/wsgi.py": ""}
PROJECT = '[project]\nname = "shop"\nversion = "1"\ndependencies = ["django"]\n'


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write a tree."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def stack(folder: Path | str, **app: object) -> dict[str, Any]:
    """The settings of a stack with this project."""
    return {
        "name": "shop-dev",
        "region": "fra1",
        "domain": "shop.example",
        "database": {"size": "db-s-1vcpu-2gb"},
        "web": {"size": "s-1vcpu-1gb"},
        "app": {"path": str(folder), "wsgi": "shop.wsgi:application", "settings": "shop.settings", **app},
    }


def problems(settings: dict[str, Any]) -> tuple[str, ...]:
    """Everything that is said against it; nothing where it is taken."""
    try:
        parse(settings)
    except ConfigError as error:
        return error.problems
    return ()


def the_problem(settings: dict[str, Any]) -> str:
    """The one problem."""
    (problem,) = problems(settings)
    return problem


def notes(settings: dict[str, Any]) -> list[str]:
    """What is said without refusing it."""
    return list(project_notes(parse(settings)))
