"""How a world's own HTTP services are run: by uvicorn."""

from pathlib import Path

import uvicorn
from starlette.types import ASGIApp


def serve(
    app: ASGIApp, host: str, port: int, *, certificate: Path | None = None, key: Path | None = None, grace: int = 5
) -> bool:
    """Serve until told to stop, and let calls under way end for `grace` seconds; return whether it ever served."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http="h11",  # the API's way to cut a connection relies on its request cycle
        ssl_certfile=certificate,
        ssl_keyfile=key,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=grace,
    )
    server = uvicorn.Server(config)
    server.run()
    return server.started
