"""What there is around a Droplet: its firewalls, and what it has none of here."""

from starlette.responses import Response

from sandbox.api.calls import Call, Router, answer

router = Router("Droplet")


@router.add("GET", "/droplets/{id}/firewalls", "droplets_list_firewalls")
async def firewalls(call: Call) -> Response:
    """List the firewalls that a Droplet is behind, by its id or by a tag."""
    droplet = call.cloud.find("droplet", call.path("id"))
    return call.listing(
        "firewalls",
        (
            firewall.body
            for firewall in call.store.list("firewall")
            if int(droplet.id) in firewall.body["droplet_ids"]
            or not set(firewall.body["tags"]).isdisjoint(droplet.body["tags"])
        ),
    )


@router.add("GET", "/droplets/{id}/neighbors", "droplets_list_neighbors")
async def neighbours(call: Call) -> Response:
    """List other Droplets on the same hardware: to DigitalOcean's knowledge none, every one has its own."""
    call.cloud.find("droplet", call.path("id"))
    return answer({"droplets": []})


@router.add("GET", "/reports/droplet_neighbors_ids", "droplets_list_neighborsIds")
async def neighbours_of_all(_call: Call) -> Response:
    """List groups of Droplets that share hardware."""
    return answer({"neighbor_ids": []})


@router.add("GET", "/droplets/{id}/kernels", "droplets_list_kernels")
async def kernels(call: Call) -> Response:
    """List kernels to choose from: Droplets made since March 2017 have their own."""
    call.cloud.find("droplet", call.path("id"))
    return call.listing("kernels", [])


@router.add("GET", "/droplets/{id}/snapshots", "droplets_list_snapshots")
async def snapshots(call: Call) -> Response:
    """List snapshots: none can be taken here."""
    call.cloud.find("droplet", call.path("id"))
    return call.listing("snapshots", [])


@router.add("GET", "/droplets/{id}/backups", "droplets_list_backups")
async def backups(call: Call) -> Response:
    """List backups: none are taken here."""
    call.cloud.find("droplet", call.path("id"))
    return call.listing("backups", [])
