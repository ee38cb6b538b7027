"""A client's side of a world: the environment that it needs, the way in, and the plugin."""
