"""Rules about what goes into a release."""

from collections.abc import Iterator

from config.stack import StackConfig

NEEDED = ("manage.py", "pyproject.toml", "uv.lock", "requirements.txt")
# Who has both has one too many for uv; who has one needs it.
INSTEAD = {"uv.lock": "requirements.txt", "requirements.txt": "uv.lock"}


def file_rules(config: StackConfig) -> Iterator[str]:
    """Judge what would go into a release, where there is a project and it is the one to be released."""
    app = config.app
    if app.release is not None or not (app.folder / "manage.py").is_file():
        return
    files = app.files
    yield from files.problems
    if files.problems:
        return
    for name in NEEDED:
        if (why := files.why_left_out(name)) and INSTEAD.get(name) not in files.names:
            yield f"app.path: must take {name} along, which is left out: {why}; name it in app.include"
    for setting, module in (("wsgi", app.wsgi.partition(":")[0]), ("settings", app.settings)):
        path = module.replace(".", "/")
        for name in (f"{path}.py", f"{path}/__init__.py"):
            if why := files.why_left_out(name):
                yield (
                    f'app.{setting}: must name a module that is released, got "{module}", and {name} is left out: '
                    f"{why}; name it in app.include"
                )
