"""The documents that the runner and the Droplets exchange through Spaces, once for both: docs/releases.md.

Standard library only: a part of the package that every Droplet runs.
"""
