"""What a preview says of the modules that `app.wsgi` and `app.settings` name."""

from pathlib import Path

import pytest

from tests.unit.projects import MODULES, PLAIN, problems, stack, the_problem, write

RULE = "must name a module below app.path"


def test_both_modules_are_said(tmp_path: Path) -> None:
    """Each has its own line, also where the other is no name at all."""
    write(tmp_path, MODULES | {"requirements.txt": PLAIN})
    first, second = problems(stack(tmp_path, wsgi="shop.wsgy:application", settings="shop.settings.prod"))
    assert first == f'app.wsgi: {RULE}, got "shop.wsgy"; shop/wsgy.py is not there, shop.wsgi:application is'
    assert second.startswith('app.settings: must name a module below app.path, got "shop.settings.prod"; ')
    first, second = problems(stack(tmp_path, wsgi="shop", settings="shop.sttings"))
    assert (first.partition(":")[0], second.partition(":")[0]) == ("app.wsgi", "app.settings")


def test_defaults_that_are_not_there_are_said(tmp_path: Path) -> None:
    """Who sets the path alone has the sample's modules."""
    write(tmp_path, MODULES | {"requirements.txt": PLAIN})
    settings = stack(tmp_path)
    settings["app"] = {"path": str(tmp_path)}
    assert problems(settings) == (
        f'app.wsgi: {RULE}, got "mysite.wsgi"; mysite/wsgi.py is not there, shop.wsgi:application is',
        f'app.settings: {RULE}, got "mysite.settings"; mysite/settings.py is not there, shop.settings is',
    )


@pytest.mark.parametrize(
    "files",
    [
        {"src/shop/__init__.py": "", "src/shop/settings.py": "", "src/shop/wsgi.py": ""},
        {"src/shop/settings.py": "", "src/shop/wsgi.py": "", "shop/templates/home.html": ""},
        {"src/shop/settings.py": "", "src/shop/wsgi.py": "", "shop/tasks.py": ""},
        {"apps/shop/settings.py": "", "apps/shop/wsgi.py": "", "shop/tool.py": ""},
        {},
    ],
    ids=["src", "folder of another kind", "folder of scripts", "apps", "installed"],
)
def test_modules_that_can_not_be_seen_are_taken(tmp_path: Path, files: dict[str, str]) -> None:
    """A src layout, a path that manage.py sets, an installed package."""
    write(tmp_path, {"manage.py": "", "requirements.txt": f"-e .\n{PLAIN}", **files})
    assert problems(stack(tmp_path)) == ()


ASGI = "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n"
CHANNELS = "import channels.routing as r\napplication = r.ProtocolTypeRouter({'http': 1})\n"


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("shop.asgi", ASGI),
        ("shop.asgi", ""),
        ("shop.routing", CHANNELS),
        ("shop.application", ASGI),
        ("elsewhere.asgi", None),
    ],
)
def test_an_asgi_module_is_refused(tmp_path: Path, module: str, text: str | None) -> None:
    """By what it makes, or by its name; the WSGI module is named, where there is one."""
    write(tmp_path, MODULES | {"requirements.txt": PLAIN})
    if text is not None:
        write(tmp_path, {f"{module.replace('.', '/')}.py": text})
    settings = stack(tmp_path, wsgi=f"{module}:application")
    assert the_problem(settings) == (
        f'app.wsgi: must name a WSGI callable, got "{module}:application"; '
        "ASGI is not served: name the WSGI module, shop.wsgi:application"
    )
    (tmp_path / "shop/wsgi.py").unlink()
    assert "ASGI is not served: name a WSGI module, " in the_problem(settings)


def test_a_wsgi_callable_in_a_module_called_asgi_is_taken(tmp_path: Path) -> None:
    """What it makes says more than what it is called."""
    text = ASGI.replace("asgi", "wsgi")
    write(tmp_path, MODULES | {"requirements.txt": PLAIN, "shop/asgi.py": text})
    assert problems(stack(tmp_path, wsgi="shop.asgi:application")) == ()
