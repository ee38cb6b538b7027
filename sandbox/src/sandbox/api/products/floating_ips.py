"""Floating IPs: the earlier name of Reserved IPs, under which they still answer."""

import json

from starlette.responses import JSONResponse, Response

from sandbox.api.calls import Call, Handler, Router
from sandbox.api.products import reserved_ips

router = Router("Floating IP")


def _renamed(handler: Handler) -> Handler:
    """Return the same call with the earlier name at the root of its answer."""

    async def handle(call: Call) -> Response:
        response = await handler(call)
        if not response.body:
            return response
        content = {
            name.replace("reserved_ip", "floating_ip"): value
            for name, value in json.loads(bytes(response.body)).items()
        }
        return JSONResponse(content, status_code=response.status_code)

    return handle


for method, path, operation, handler in (
    ("POST", "/floating_ips", "floatingIPs_create", reserved_ips.create),
    ("GET", "/floating_ips", "floatingIPs_list", reserved_ips.list_all),
    ("GET", "/floating_ips/{ip}", "floatingIPs_get", reserved_ips.get),
    ("DELETE", "/floating_ips/{ip}", "floatingIPs_delete", reserved_ips.delete),
    ("POST", "/floating_ips/{ip}/actions", "floatingIPsAction_post", reserved_ips.act),
    ("GET", "/floating_ips/{ip}/actions", "floatingIPsAction_list", reserved_ips.list_actions),
    ("GET", "/floating_ips/{ip}/actions/{action}", "floatingIPsAction_get", reserved_ips.get_action),
):
    router.add(method, path, operation)(_renamed(handler))
