"""Projects, and which of them Droplets, clusters, domains, load balancers and Reserved IPs are in."""

from collections.abc import Iterator

from starlette.responses import Response

from sandbox.api import errors
from sandbox.api.calls import Call, Fields, Router, answer, nothing
from sandbox.model.store import Body, Resource, Store, now

router = Router("Project")

# The project that every account begins with. Others can become the default one; this one can't be created.
_FIRST = "4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679"
_FIRST_KIND = "first_project"  # in the store once it is changed
_OWNER = {"owner_uuid": "b3a1d8f0-0000-4000-8000-000000000001", "owner_id": 1}
_LONGEST = {"name": 175, "description": 255, "purpose": 255}
_PURPOSES = (
    "Just trying out DigitalOcean",
    "Class project / Educational purposes",
    "Website or blog",
    "Web Application",
    "Service or API",
    "Mobile Application",
    "Machine learning / AI / Data processing",
    "IoT",
    "Operational / Developer tooling",
)
_ENVIRONMENTS = ("Development", "Staging", "Production")
# Kind in the store: its type in a URN, and its collection in the API.
_KINDS = {
    "droplet": ("droplet", "droplets"),
    "database": ("dbaas", "databases"),
    "domain": ("domain", "domains"),
    "load_balancer": ("loadbalancer", "load_balancers"),
    "reserved_ip": ("floatingip", "reserved_ips"),
}
_TYPES = {type_: kind for kind, (type_, _) in _KINDS.items()} | {"reservedip": "reserved_ip"}  # so says the Go client
_ABSENT = ("app", "kubernetes", "space", "volume")


class _Patch(Fields):
    name: str | None = None
    description: str | None = None
    purpose: str | None = None
    environment: str | None = None
    is_default: bool | None = None


class _Create(Fields):
    name: str
    purpose: str
    description: str | None = None
    environment: str | None = None


class _Update(Fields):
    name: str
    description: str
    purpose: str
    environment: str
    is_default: bool


class _Assignment(Fields):
    resources: list[str]


@router.add("POST", "/projects", "projects_create")
async def create(call: Call) -> Response:
    """Create a project."""
    fields = call.fields(_Create).model_dump()
    project_id = call.store.next_uuid("project")
    body = {"id": project_id, **_OWNER, "description": "", "environment": "", "is_default": False}
    body |= _checked(call.store, fields, project_id) | {"created_at": now(), "updated_at": now()}
    return answer({"project": call.store.put("project", project_id, body).body}, 201)


@router.add("GET", "/projects", "projects_list")
async def list_all(call: Call) -> Response:
    """List projects."""
    return call.listing("projects", (project.body for project in _projects(call.store)))


@router.add("GET", "/projects/default", "projects_get_default")
@router.add("GET", "/projects/{id}", "projects_get")
async def get(call: Call) -> Response:
    """Describe a project, or the default one."""
    return answer({"project": _wanted(call).body})


@router.add("PUT", "/projects/default", "projects_update_default")
@router.add("PUT", "/projects/{id}", "projects_update")
async def update(call: Call) -> Response:
    """Replace what is said of a project."""
    return _change(call, call.fields(_Update))


@router.add("PATCH", "/projects/default", "projects_patch_default")
@router.add("PATCH", "/projects/{id}", "projects_patch")
async def patch(call: Call) -> Response:
    """Change what is named; null is not."""
    return _change(call, call.fields(_Patch))


@router.add("DELETE", "/projects/{id}", "projects_delete")
async def delete(call: Call) -> Response:
    """Delete a project that nothing is in."""
    project = _wanted(call)
    if project.body["is_default"]:
        raise errors.precondition_failed("cannot delete the default project")
    if project.id == _FIRST:
        raise errors.not_implemented("the project that every account of the sandbox begins with stays")
    if any(_in(call.store, found) == project.id for found in _everything(call.store)):
        raise errors.precondition_failed("cannot delete a project with resources. move or remove the resources first")
    call.store.delete("project", project.id)
    return nothing()


@router.add("GET", "/projects/default/resources", "projects_list_resources_default")
@router.add("GET", "/projects/{id}/resources", "projects_list_resources")
async def list_resources(call: Call) -> Response:
    """List what is in a project."""
    project = _wanted(call)
    found = (one for one in _everything(call.store) if _in(call.store, one) == project.id)
    return call.listing("resources", (_shown(one, "ok") for one in found))


@router.add("POST", "/projects/default/resources", "projects_assign_resources_default")
@router.add("POST", "/projects/{id}/resources", "projects_assign_resources")
async def assign(call: Call) -> Response:
    """Put resources into a project; each leaves the one that it was in."""
    project = _wanted(call)
    urns = call.fields(_Assignment).resources
    return answer({"resources": [_assign(call.store, urn, project.id) for urn in urns]})


def of_new(store: Store, wanted: str | None) -> str:
    """Return the project of a new resource: the wanted one, else the default one."""
    known = {project.id: project for project in _projects(store)}
    if wanted and wanted not in known:
        raise errors.unprocessable(f'project_id: no project has the id "{wanted}"')
    return wanted or _default(store)


def of(store: Store, resource: Resource) -> Body:
    """Return what a resource says of its project."""
    return {"project_id": _in(store, resource)}


def _projects(store: Store) -> list[Resource]:
    moment = "2026-01-01T00:00:00Z"
    body = {
        "id": _FIRST,
        **_OWNER,
        "name": "sandbox",
        "description": "The default project of this sandbox",
        "purpose": "Web Application",
        "environment": "Development",
        "is_default": True,
        "created_at": moment,
        "updated_at": moment,
    }
    first = Resource(kind=_FIRST_KIND, id=_FIRST, body=body, private={}, created_at=moment)
    return [store.get(_FIRST_KIND, _FIRST) or first, *store.list("project")]


def _default(store: Store) -> str:
    return next(project.id for project in _projects(store) if project.body["is_default"])


def _wanted(call: Call) -> Resource:
    wanted = call.path("id", _default(call.store))
    for project in _projects(call.store):
        if project.id == wanted:
            return project
    raise errors.not_found()


def _change(call: Call, fields: Fields) -> Response:
    project = _wanted(call)
    named = {name: value for name, value in fields.model_dump().items() if value is not None}
    default = named.pop("is_default", project.body["is_default"])
    if project.body["is_default"] and not default:
        raise errors.unprocessable("is_default: make another project the default one instead")
    if default and not project.body["is_default"]:
        _leave_default(call.store)
    body = project.body | _checked(call.store, named, project.id) | {"is_default": default, "updated_at": now()}
    return answer({"project": call.store.put(project.kind, project.id, body).body})


def _leave_default(store: Store) -> None:
    """Keep what is in the default project there, before another is the default one."""
    default = _default(store)
    for resource in _everything(store):
        store.put(resource.kind, resource.id, resource.body, {"project_id": default} | resource.private)
    for project in _projects(store):
        if project.id == default:
            store.put(project.kind, project.id, project.body | {"is_default": False})


def _checked(store: Store, fields: Body, project_id: str) -> Body:
    """Return fields as they are kept, those that are given, or raise 422."""
    kept = {name: value for name, value in fields.items() if value is not None}
    for name, longest in _LONGEST.items():
        if len(kept.get(name, "")) > longest:
            raise errors.unprocessable(f"{name}: must have at most {longest} characters, got {len(kept[name])}")
    for name in ("name", "purpose"):
        if kept.get(name) == "":
            raise errors.unprocessable(f'{name}: must not be empty, got ""')
    if any(project.body["name"] == kept.get("name") and project.id != project_id for project in _projects(store)):
        raise errors.conflict(f'name: must be unique, a project is called "{kept["name"]}" already')
    if "purpose" in kept and kept["purpose"] not in _PURPOSES:
        kept["purpose"] = f"Other: {kept['purpose'].removeprefix('Other: ')}"
    if kept.get("environment"):
        kept["environment"] = kept["environment"].capitalize()
        if kept["environment"] not in _ENVIRONMENTS:
            allowed = ", ".join(_ENVIRONMENTS)
            raise errors.unprocessable(f'environment: must be one of {allowed}, got "{fields["environment"]}"')
    return kept


def _everything(store: Store) -> Iterator[Resource]:
    return (resource for kind in _KINDS for resource in store.list(kind))


def _in(store: Store, resource: Resource) -> str:
    return str(resource.private.get("project_id") or _default(store))


def _shown(resource: Resource, status: str) -> Body:
    type_, collection = _KINDS[resource.kind]
    return {
        "urn": f"do:{resource.private.get('urn_type', type_)}:{resource.id}",
        "assigned_at": resource.private.get("assigned_at", resource.created_at),
        "links": {"self": f"https://api.digitalocean.com/v2/{collection}/{resource.id}"},
        "status": status,
    }


def _assign(store: Store, urn: str, project_id: str) -> Body:
    prefix, _, rest = urn.partition(":")
    type_, _, id_ = rest.partition(":")
    if prefix == "do" and type_ in _ABSENT:
        raise errors.not_implemented(f'resources: the sandbox has projects of {", ".join(_TYPES)}, got "{urn}"')
    if prefix != "do" or type_ not in _TYPES or not id_:
        raise errors.unprocessable(f'resources: must be do:<type>:<id> of what projects are made of, got "{urn}"')
    resource = store.get(_TYPES[type_], id_)
    if resource is None:
        return {"urn": urn, "assigned_at": None, "links": {"self": ""}, "status": "not_found"}
    if _in(store, resource) == project_id:
        return _shown(resource, "already_assigned")
    own = {"project_id": project_id, "assigned_at": now(), "urn_type": type_}
    return _shown(store.put(resource.kind, resource.id, resource.body, resource.private | own), "assigned")
