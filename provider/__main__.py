"""Start the plugin: print the port, serve until the engine is done."""

import sys

from plugin_base.sdk import spare_the_sdk


def main() -> None:
    """Serve the engine whose address is the first argument."""
    spare_the_sdk()
    from plugin_base.process import serve
    from provider.plugin import Runner

    serve(Runner(engine=sys.argv[1] if len(sys.argv) > 1 else ""))


if __name__ == "__main__":
    main()
