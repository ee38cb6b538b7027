"""Runs steps of a release in the app's own Python, as an unprivileged user: `steps.py` starts it and asks.

It can import the app once, as Gunicorn does, and then forks a child for each step; without that, each step imports it.
The app's Python may be any from 3.10 on. What the app prints or closes does not disturb the talk with the agent: that
has a descriptor of its own, which no step gets.
"""

import contextlib
import ctypes
import fcntl
import gc
import importlib
import json
import os
import signal
import socket
import stat
import sys
import traceback
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
LARGEST_REQUEST = 65536  # bytes
MOST_WORDS = 100  # that an app asks sys.argv for; more is a program that reads it

Step = Callable[[], object]


class WatchedArguments(list[str]):
    """Arguments that remember what the import asked them: settings may depend on the command that is being run."""

    def __init__(self, arguments: list[str]) -> None:
        super().__init__(arguments)
        self.words: set[str] = set()  # of which it asked whether they are there
        self.read = False  # it looked at them in another way

    def __contains__(self, word: object) -> bool:
        self.words.add(str(word))
        return super().__contains__(word)

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401 - whatever a list has
        if not name.startswith("_") and name not in {"words", "read"}:
            self.read = True
        return super().__getattribute__(name)

    def __radd__(self, others: list[str]) -> list[str]:
        return [*others, *self]

    __hash__ = None  # as a list


def noted(name: str) -> Callable[..., Any]:
    """Return a list's own method that remembers that it was called."""
    method = getattr(list, name)

    def remembering(self: WatchedArguments, *arguments: object) -> Any:  # noqa: ANN401 - whatever the method returns
        self.read = True
        return method(self, *arguments)

    return remembering


# Whatever syntax and built-in functions use.
for special in (
    *("getitem", "setitem", "delitem", "iter", "reversed", "len", "repr"),
    *("eq", "ne", "lt", "le", "gt", "ge", "add", "iadd", "mul", "rmul", "imul"),
):
    setattr(WatchedArguments, f"__{special}__", noted(f"__{special}__"))


def load(wsgi: str) -> None:
    """Import the app as Gunicorn does."""
    importlib.import_module("gunicorn.util").import_app(wsgi)


def preload(gunicorn: list[str]) -> dict[str, object]:
    """Import the app for the steps to come; say what speaks against forking now, and what it asked sys.argv."""
    descriptors = open_descriptors()
    environment, folder, handlers = dict(os.environ), Path.cwd(), signal_handlers()
    sys.argv = watched = WatchedArguments(gunicorn)
    load(gunicorn[-1])
    sys.argv = list(gunicorn)
    if database := sys.modules.get("django.db"):
        database.connections.close_all()
    facts = {
        "a thread": len(list(Path("/proc/self/task").iterdir())) > 1,
        "a child process": has_children(),
        "an open descriptor": any(is_shared(number) for number, _, _ in open_descriptors() - descriptors),
        "a temporary directory": has_temporary_directory(),
        "another working directory": Path.cwd() != folder,
        "other signal handlers": signal_handlers() != handlers,
        "another environment": any(os.environ.get(name) != value for name, value in environment.items()),
        "what it read in sys.argv": watched.read or len(watched.words) > MOST_WORDS,
    }
    unsafe = [name for name, there in facts.items() if there]
    return {"status": 0, "unsafe": unsafe, "words": sorted(watched.words)[:MOST_WORDS]}


def open_descriptors() -> set[tuple[int, int, int]]:
    """Return what is open, as number, device and inode, without what the listing itself opens."""
    found = set()
    for entry in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):
            what = os.fstat(int(entry.name))
            found.add((int(entry.name), what.st_dev, what.st_ino))
    return found


def signal_handlers() -> dict[int, object]:
    """Return what happens on each signal."""
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def has_children() -> bool:
    """Whether there is a child, running or not yet waited for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def has_temporary_directory() -> bool:
    """Whether a tempfile.TemporaryDirectory lives: the first child that ends would remove it for all."""
    registry: dict[object, Any] = vars(weakref.finalize).get("_registry", {})  # there is no public list
    return any(getattr(entry.func, "__module__", "") == "tempfile" for entry in registry.values())


def is_shared(descriptor: int) -> bool:
    """Whether two processes with this descriptor would disturb each other: a connection, or a file with a position."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        return flags & os.O_ACCMODE != os.O_RDONLY and not flags & os.O_APPEND
    return not (stat.S_ISCHR(mode) or stat.S_ISDIR(mode))


def manage(arguments: list[str], answer: int) -> None:
    """Run manage.py as Python does: some change sys.path, read files, or use another command line than Django's.

    Where the settings are loaded already, and manage.py changes the environment that they were loaded from, nothing is
    run: `answer` hears that this command needs an interpreter without them.
    """
    sys.argv = ["manage.py", *arguments]
    if "django.conf" not in sys.modules:
        os.close(answer)
    else:
        utility = importlib.import_module("django.core.management").ManagementUtility
        execute, environment = utility.execute, dict(os.environ)

        def unless_changed(self: object) -> None:
            if dict(os.environ) != environment:
                os.write(answer, b"again")
                os._exit(0)
            os.close(answer)
            utility.execute = execute
            execute(self)

        utility.execute = unless_changed
    path = Path("manage.py").absolute()
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__file__ = str(path)
    exec(compile(path.read_bytes(), path, "exec", dont_inherit=True), vars(main))  # noqa: S102 - what Python does


def settings(gunicorn: list[str], answer: int) -> None:
    """Write where static files are collected, and under which address, to the descriptor `answer`."""
    set_up(gunicorn)
    found = importlib.import_module("django.conf").settings
    os.write(answer, json.dumps([str(found.STATIC_ROOT), str(found.STATIC_URL)]).encode())


def stranger(gunicorn: list[str], answer: int) -> None:
    """Write the name of the user that createsuperuser would make, if it is there with another password, else "".

    Nobody must have logged in as that user: later the password is that person's own.
    """
    set_up(gunicorn)
    people = importlib.import_module("django.contrib.auth").get_user_model()
    check_password = importlib.import_module("django.contrib.auth.hashers").check_password
    name = os.environ[f"DJANGO_SUPERUSER_{people.USERNAME_FIELD.upper()}"]
    user = people._default_manager.get_by_natural_key(name)  # noqa: SLF001 - documented
    known = user.last_login or check_password(os.environ["DJANGO_SUPERUSER_PASSWORD"], user.password)
    os.write(answer, json.dumps("" if known else name).encode())


def set_up(gunicorn: list[str]) -> None:
    """Make Django ready as the app does it for Gunicorn; where that has been done, nothing is done again."""
    sys.argv = list(gunicorn)
    load(gunicorn[-1])
    importlib.import_module("django").setup()  # the callable may do it at the first request only


def named(request: dict[str, Any], answer: int) -> Step:
    """Return what a request asks for."""
    arguments, gunicorn = request["arguments"], request["gunicorn"]
    os.set_inheritable(answer, False)  # noqa: FBT003 - its only form
    steps: dict[str, Step] = {
        "manage": lambda: manage(arguments, answer),
        "settings": lambda: settings(gunicorn, answer),
        "stranger": lambda: stranger(gunicorn, answer),
    }
    return steps[request["step"]]


def flush() -> None:
    """Let go of what was printed, so that no child prints it again; the app may have closed or replaced the streams."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.flush()


def print_to(descriptor: int) -> None:
    """Let this process, and what it starts, print there."""
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def serve(control: socket.socket) -> Step | None:
    """Answer requests; return in the child with the step to run, and in the parent with nothing to do any more."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, LARGEST_REQUEST, 2)
        if not message:
            return None
        request = json.loads(message)
        if request["step"] == "import":
            reply = preload(request["gunicorn"])
        # What was printed so far belongs to the start and the import, and goes where that went.
        flush()
        print_to(os.open(os.devnull, os.O_WRONLY))
        if request["step"] != "import":
            gc.freeze()  # a collection in a child would copy the memory that it shares
            child = os.fork()
            if child == 0:
                control.close()
                os.setpgid(0, 0)  # as a program that was started alone: what it sends to its group is for itself
                print_to(descriptors[0])
                return named(request, descriptors[1])
            for descriptor in descriptors:
                os.close(descriptor)
            reply = {"status": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}
        control.send(json.dumps(reply).encode())


def show(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    """Print an exception as Python would, without this file's own lines: they say nothing about the app."""
    shown = traceback.TracebackException(kind, error, trace)
    shown.stack = traceback.StackSummary.from_list(line for line in shown.stack if line.filename != __file__)
    sys.stderr.write("".join(shown.format()))


def main() -> Step | None:
    """Take this program's own things out of the app's sight, then serve."""
    own = Path(__file__).resolve().parent
    sys.path[:] = [str(Path.cwd()), *(folder for folder in sys.path if Path(folder).resolve() != own)]
    # Whoever leaves its session stays below this process, where the agent finds it.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    sys.excepthook = show  # unless the app has one of its own
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    return serve(control)


if __name__ == "__main__":
    # From here, so that a child's interpreter ends in the normal way: threads, `atexit`, its own hooks for exceptions.
    step = main()
    if step is not None:
        step()
