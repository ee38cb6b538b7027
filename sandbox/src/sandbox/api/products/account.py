"""The account, its regions, sizes and images, and its default project: all read only."""

from starlette.responses import Response

from sandbox.api import errors
from sandbox.api.calls import Call, Router, answer
from sandbox.model import plans
from sandbox.model.store import Body

router = Router("Account")

DEFAULT_PROJECT = "4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679"


def project(wanted: str | None) -> str:
    """Return the project of a new resource: the wanted one, else the default one."""
    if wanted and wanted != DEFAULT_PROJECT:
        raise errors.unprocessable(f'project_id: no project has the id "{wanted}"')
    return DEFAULT_PROJECT


def _project() -> Body:
    return {
        "id": DEFAULT_PROJECT,
        "owner_uuid": "b3a1d8f0-0000-4000-8000-000000000001",
        "owner_id": 1,
        "name": "sandbox",
        "description": "The default project of this sandbox",
        "purpose": "Web Application",
        "environment": "Development",
        "is_default": True,
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
    }


@router.add("GET", "/account", "account_get")
async def get_account(_call: Call) -> Response:
    """Describe the account."""
    return answer(
        {
            "account": {
                "droplet_limit": 90,
                "floating_ip_limit": 50,
                "reserved_ip_limit": 50,
                "email": "sandbox@polls.example",
                "name": "sandbox",
                "uuid": "b3a1d8f0-0000-4000-8000-000000000001",
                "email_verified": True,
                "status": "active",
                "status_message": "",
                "team": {"uuid": "b3a1d8f0-0000-4000-8000-000000000002", "name": "sandbox"},
            }
        }
    )


@router.add("GET", "/regions", "regions_list")
async def list_regions(call: Call) -> Response:
    """List regions."""
    return call.listing("regions", [plans.region_body(slug) for slug in plans.REGIONS])


@router.add("GET", "/sizes", "sizes_list")
async def list_sizes(call: Call) -> Response:
    """List Droplet plans."""
    return call.listing("sizes", [plan.body() for plan in plans.DROPLET_PLANS.values()])


@router.add("GET", "/images", "images_list", query=("type",))
async def list_images(call: Call) -> Response:
    """List base images."""
    return call.listing("images", [plans.image_body(slug) for slug in plans.IMAGES])


@router.add("GET", "/images/{image}", "images_get")
async def get_image(call: Call) -> Response:
    """Describe a base image by its slug or id."""
    for slug in plans.IMAGES:
        body = plans.image_body(slug)
        if call.path("image") in {slug, str(body["id"])}:
            return answer({"image": body})
    raise errors.not_found()


@router.add("GET", "/projects", "projects_list")
async def list_projects(call: Call) -> Response:
    """List projects: there is only the default one."""
    return call.listing("projects", [_project()])


@router.add("GET", "/projects/{project}", "projects_get")
async def get_project(call: Call) -> Response:
    """Describe the default project, by its id or as "default"."""
    if call.path("project") not in {"default", DEFAULT_PROJECT}:
        raise errors.not_found()
    return answer({"project": _project()})
