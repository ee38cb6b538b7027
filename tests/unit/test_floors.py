"""Program and sandbox are houses: a module uses what is below it, and nobody needs to know what is above."""

import ast
from collections.abc import Callable, Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from operations.__main__ import COMMANDS
from tests.unit.test_independence import ROOT, files, rooms

# From the ground up; rooms of one floor do not know each other.
FLOORS = (
    {"plugin_base", "protocol", "sizing"},
    {"contract", "provider"},
    {"config"},
    {"droplet"},
    {"components", "policy"},
    {"operations"},
    {"__main__.py"},
)
# The sandbox's own; a world of depth `api` and one of depth `full` are on one floor.
SANDBOX_FLOORS = (
    {"world"},
    {"model"},
    {"network"},
    {"machines"},
    {"client", "parts"},
    {"simulated"},
    {"api"},
    {"command_line"},
    {"__main__"},
)
ELSEWHERE = {"app", "cloud-init"}  # programs of their own, on the Droplet
Graph = dict[str, set[str]]


def module_of(path: Path) -> str:
    """A module's name, such as `config.web`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[parts.index("src") + 1 :] if "src" in parts else parts  # a package with a build of its own
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.Module) -> Iterator[str]:
    """Whatever it imports, at once, later, or for its types alone; of `from a import b` both `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "names are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield str(node.module)


def graph_of(sources: dict[str, str]) -> Graph:
    """Which module of these uses which; from a package's own module nothing but what it imports itself."""
    found: Graph = {}
    for name, source in sources.items():
        used = set(imported(ast.parse(source))) & sources.keys()
        # `from a import b` with a module b needs nothing that `a` itself has.
        found[name] = {one for one in used if not any(other.startswith(f"{one}.") for other in used)}
    return found


def program() -> Graph:
    """The modules of the program; a command that is named by a text is imported, too."""
    sources = {
        module_of(path): path.read_text()
        for path in files(*rooms())
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] not in ELSEWHERE
    }
    graph = graph_of(sources)
    graph["operations.__main__"] |= {f"operations.{place.partition(':')[0]}" for place in COMMANDS.values()}
    return graph


def sandbox() -> Graph:
    """The sandbox's modules, by what they are called inside it."""
    place = "sandbox/src/sandbox"
    modules = [path for path in files(place) if path.suffix == ".py" and path != ROOT / place / "__init__.py"]
    graph = graph_of({module_of(path): path.read_text() for path in modules})
    return {
        module.removeprefix("sandbox."): {used.removeprefix("sandbox.") for used in uses}
        for module, uses in graph.items()
    }


def circle(graph: Graph) -> list[str]:
    """Modules that need each other, in the order in which they do; none if there is no such circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def upward(graph: Graph, floors: Sequence[set[str]] = FLOORS) -> list[str]:
    """Arrows to another room that is not on a lower floor."""
    floor = {room.removesuffix(".py"): number for number, rooms in enumerate(floors) for room in rooms}
    arrows = ((module, used, module.split(".")[0], used.split(".")[0]) for module in graph for used in graph[module])
    return [
        f"{module} -> {used}" for module, used, room, other in arrows if room != other and floor[room] <= floor[other]
    ]


def test_every_room_has_its_floor() -> None:
    """A new one is given one, and what is gone has none."""
    with_python = {room for room in rooms() if any(path.suffix == ".py" for path in files(room))}
    assert {room for floor in FLOORS for room in floor} == with_python - ELSEWHERE


def test_no_arrow_goes_up() -> None:
    """Nor along a floor."""
    graph = program()
    assert len(graph) > 60
    assert sum(map(len, graph.values())) > 100
    assert upward(graph) == []


def test_no_arrow_of_the_sandbox_goes_up() -> None:
    """And each of its rooms has a floor."""
    graph = sandbox()
    assert {module.split(".")[0] for module in graph} == {room for floor in SANDBOX_FLOORS for room in floor}
    assert upward(graph, SANDBOX_FLOORS) == []


@pytest.mark.parametrize("house", [program, sandbox])
def test_no_modules_need_each_other(house: Callable[[], Graph]) -> None:
    """Not even for their types."""
    assert circle(house()) == []


@pytest.mark.parametrize(
    ("source", "is_found"),
    [
        ("import components.network", True),
        ("from components import network", True),
        ("def late():\n    from components.network import Network", True),
        ("if TYPE_CHECKING:\n    from components.network import Network", True),
        ("from sizing import editions", False),
        ("import pulumi", False),
    ],
)
def test_an_arrow_that_goes_up_is_found(source: str, *, is_found: bool) -> None:
    """The control: each way to import."""
    modules = {"sizing.plans": source, "sizing.editions": "", "components": "", "components.network": ""}
    assert upward(graph_of(modules)) == ["sizing.plans -> components.network"] * is_found


def test_a_circle_is_found() -> None:
    """The control: through a third one, and in a function."""
    modules = {
        "config.stack": "from config import rules",
        "config.rules": "import config.problems",
        "config.problems": "def late():\n    from config.stack import StackConfig",
    }
    assert {*circle(graph_of(modules))} == modules.keys()
