"""The account and what it has paid, its regions, sizes and images: all read only."""

from starlette.responses import Response

from sandbox.api import errors, switches
from sandbox.api.calls import Call, Router, answer
from sandbox.model import plans
from sandbox.model.store import now

router = Router("Account")


@router.add("GET", "/account", "account_get")
async def get_account(call: Call) -> Response:
    """Describe the account."""
    return answer(
        {
            "account": {
                "droplet_limit": switches.read(call.store).droplets,
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


@router.add("GET", "/customers/my/balance", "balance_get")
async def get_balance(_call: Call) -> Response:
    """Say what is owed: nothing here costs anything."""
    amounts = ("month_to_date_balance", "account_balance", "month_to_date_usage")
    return answer({**dict.fromkeys(amounts, "0.00"), "generated_at": now()})


@router.add("GET", "/regions", "regions_list")
async def list_regions(call: Call) -> Response:
    """List regions."""
    return call.listing("regions", [plans.region_body(slug) for slug in plans.REGIONS])


@router.add("GET", "/sizes", "sizes_list")
async def list_sizes(call: Call) -> Response:
    """List Droplet plans."""
    return call.listing("sizes", [plan.body() for plan in plans.DROPLET_PLANS.values()])


@router.add("GET", "/images", "images_list", query=("type", "private", "tag_name"))
async def list_images(call: Call) -> Response:
    """List base images, which are distributions, nobody's own, and without tags."""
    type_ = call.query("type")
    if type_ not in {None, "", "distribution", "application"}:
        raise errors.unprocessable(f'type: must be application or distribution, got "{type_}"')
    none = type_ == "application" or call.query("private") == "true" or call.query("tag_name")
    return call.listing("images", [] if none else [plans.image_body(slug) for slug in plans.IMAGES])


@router.add("GET", "/images/{image}", "images_get")
async def get_image(call: Call) -> Response:
    """Describe a base image by its slug or id."""
    for slug in plans.IMAGES:
        body = plans.image_body(slug)
        if call.path("image") in {slug, str(body["id"])}:
            return answer({"image": body})
    raise errors.not_found()
