"""Rules about the modules that the settings name: `app.wsgi` and `app.settings`, as far as they can be seen."""

import ast
from collections.abc import Iterator
from pathlib import Path

from config.app import AppConfig
from config.stack import StackConfig

# Calls that make an ASGI application: Django's own, and that of Channels.
_ASGI = frozenset({"get_asgi_application", "ProtocolTypeRouter"})


def wsgi_rules(config: StackConfig) -> Iterator[str]:
    """Check that the callable's module is there, and is none for ASGI."""
    folder, (module, _, name) = _folder(config), config.app.wsgi.partition(":")
    if folder is None:
        return
    file = _file(folder, module)
    if _is_asgi(module, name, file):
        instead = _named_like(folder, "wsgi")
        fix = (
            f"name the WSGI module, {instead}:application" if instead else f"name a WSGI module, {_beside(module)} say"
        )
        yield f'app.wsgi: must name a WSGI callable, got "{config.app.wsgi}"; ASGI is not served: {fix}'
    elif file is None:
        yield from _not_there(config, folder, "wsgi", module)


def settings_rules(config: StackConfig) -> Iterator[str]:
    """Check that the settings module is there."""
    folder, module = _folder(config), config.app.settings
    if folder is not None and _file(folder, module) is None:
        yield from _not_there(config, folder, "settings", module)


def _folder(config: StackConfig) -> Path | None:
    """Return the project's folder, unless there is none, or an earlier release is wanted."""
    folder = config.app.folder
    return folder if config.app.release is None and (folder / "manage.py").is_file() else None


def _file(folder: Path, module: str) -> Path | None:
    """Find a module's file from a folder that may be on the path."""
    path = Path(*module.split("."))
    for found in (folder / path.with_name(f"{path.name}.py"), folder / path / "__init__.py"):
        if found.is_file():
            return found
    return None


def _not_there(config: StackConfig, folder: Path, setting: str, module: str) -> Iterator[str]:
    """Refuse a module that can't be elsewhere: its package is here, or nobody has said the name."""
    first = module.split(".", maxsplit=1)[0]
    package = folder / first
    # Beside the project an installed package or a src layout may have it, which can't be seen from here. A package that
    # is here is the one that Python takes; a mere folder gives way to any other.
    is_package = (package / "__init__.py").is_file()
    is_here = is_package or (package.is_dir() and any(package.glob("*.py")) and not _elsewhere(folder, module))
    is_default = module == AppConfig.model_fields[setting].default.partition(":")[0] and not _elsewhere(folder, module)
    if not is_here and not (is_default and "PYTHONPATH" not in config.app.env):
        return
    found = _named_like(folder, setting, first if is_here else None) or _named_like(folder, setting)
    found = f"{found}:application" if found and setting == "wsgi" else found
    there = f", {found} is" if found else ""
    expected = Path(*module.split(".")).with_suffix(".py").as_posix()
    yield f'app.{setting}: must name a module below app.path, got "{module}"; {expected} is not there{there}'


def _elsewhere(folder: Path, module: str) -> bool:
    """Whether a folder of the project has the module, which a path that is set while it runs may lead to."""
    path = Path(*module.split("."))
    return any(
        any(folder.glob(f"{depth}/{name}"))
        for depth in ("*", "*/*")
        for name in (path.with_name(f"{path.name}.py").as_posix(), (path / "__init__.py").as_posix())
    )


def _named_like(folder: Path, name: str, package: str | None = None) -> str:
    """Return a module of the project with that name, the best first; nothing if there is none."""
    roots = [folder, folder / "src"]
    found = [
        ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for root in roots
        for pattern in ("{0}/{1}.py", "{0}/{1}/production.py", "{0}/{1}/prod.py")
        for file in sorted(root.glob(pattern.format(package or "*", name)))
        if file.relative_to(root).parts[0] != "src"
    ]
    return found[0] if found else ""


def _beside(module: str) -> str:
    return Path(*module.split(".")[:-1], "wsgi.py").as_posix()


def _is_asgi(module: str, name: str, file: Path | None) -> bool:
    """Go by what the module says, and by its name where that can't be read."""
    maker = _maker(file, name) if file else ""
    return maker in _ASGI or (maker != "get_wsgi_application" and module.rsplit(".", maxsplit=1)[-1] == "asgi")


def _maker(file: Path, name: str) -> str:
    """Return the function whose result a module gives that name; nothing when it can't be told."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ""  # what is wrong with it, the release says
    for node in reversed(tree.body):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        if any(isinstance(target, ast.Name) and target.id == name for target in node.targets):
            called = node.value.func
            return (
                called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
            )
    return ""
