"""Start the plugin: refuse outside a sandbox, print the port, serve until the engine is done."""

import sys

from digitalocean_provider.guard import refusal
from plugin_base.sdk import spare_the_sdk


def main() -> None:
    """Serve the engine whose address is the first argument."""
    if problem := refusal():
        sys.exit(f"pulumi-resource-digitalocean (sandbox): {problem}")
    spare_the_sdk()
    from digitalocean_provider.plugin import Provider  # noqa: PLC0415 -- the same
    from plugin_base.process import serve  # noqa: PLC0415 -- after the SDK is spared

    serve(Provider(engine=sys.argv[1] if len(sys.argv) > 1 else ""))


if __name__ == "__main__":
    main()
