"""What database clusters come in: engines, versions, plans, and which of them a new cluster may have."""

from starlette.responses import Response

from sandbox.api import errors, switches
from sandbox.api.calls import Call, Cloud, Router, answer
from sandbox.machines import images
from sandbox.model import plans
from sandbox.model.store import Body, Store

router = Router("Database")


@router.add("GET", "/databases/options", "databases_list_options")
async def options(call: Call) -> Response:
    """List what new PostgreSQL clusters come in."""
    return answer({"options": {name: _options(call.store, name) for name in plans.ENGINES}})


def engine(name: str) -> plans.Engine:
    """Return an engine, or raise 501 for one that this world doesn't have."""
    if name not in plans.ENGINES:
        known = ", ".join(f'"{known}"' for known in plans.ENGINES)
        raise errors.not_implemented(f'engine: the sandbox has {known} only, got "{name}"')
    return plans.ENGINES[name]


def plan(engine_name: str, size: str, nodes: int) -> plans.DatabasePlan:
    """Return the plan of a slug, or raise 422 when the engine hasn't got it with this number of nodes."""
    known = plans.ENGINES[engine_name].plans
    if size not in known:
        raise errors.unprocessable(f'size: must be one of {", ".join(known)}, got "{size}"')
    found = known[size]
    if nodes not in found.nodes:
        allowed = ", ".join(str(number) for number in found.nodes)
        raise errors.unprocessable(f"num_nodes: {size} comes in {allowed} nodes, got {nodes}")
    return found


def check_new(store: Store, engine_name: str, chosen: plans.DatabasePlan, nodes: int) -> None:
    """Raise 422 for what a new cluster may not have, unless the account may."""
    wrong = []
    if not _new_may_have(store, engine_name, chosen, plans.NEW_STANDARD_NODES):
        limit = plans.NEW_STANDARD_MEMORY_GIB
        wrong.append(f"size: must have at most {limit} GiB of memory, {chosen.slug} has {chosen.memory_gib}")
    if not _new_may_have(store, engine_name, None, nodes):
        wrong.append(f"num_nodes: must be {plans.NEW_STANDARD_NODES}, got {nodes}")
    if wrong:
        raise errors.unprocessable(
            f"{'; '.join(wrong)}: this plan is not available for new PostgreSQL clusters any more; "
            f'choose a smaller one, or engine "{plans.ADVANCED}"'
        )


def check_version(cloud: Cloud, engine_name: str, version: str) -> None:
    """Raise 422 for a version that the engine hasn't got, 501 for one that isn't installed."""
    known = plans.ENGINES[engine_name].versions
    if version not in known:
        raise errors.unprocessable(f'version: must be one of {", ".join(known)}, got "{version}"')
    if cloud.world.depth == "full" and version not in images.POSTGRES:
        installed = ", ".join(images.POSTGRES)
        raise errors.not_implemented(f'version: at depth "full" must be one of {installed}, got "{version}"')


def _options(store: Store, name: str) -> Body:
    found = plans.ENGINES[name]
    layouts = []
    for nodes in (1, 2, 3):
        sizes = [p.slug for p in found.plans.values() if nodes in p.nodes and _new_may_have(store, name, p, nodes)]
        layouts += [{"num_nodes": nodes, "sizes": sizes}] if sizes else []
    return {
        "regions": list(plans.REGIONS),
        "versions": list(found.versions),
        "default_version": found.default_version,
        "layouts": layouts,
    }


def _new_may_have(store: Store, engine_name: str, chosen: plans.DatabasePlan | None, nodes: int) -> bool:
    if engine_name == plans.ADVANCED or switches.read(store).old_clusters:
        return True
    small = chosen is None or chosen.memory_gib <= plans.NEW_STANDARD_MEMORY_GIB
    return small and nodes <= plans.NEW_STANDARD_NODES
