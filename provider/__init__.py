"""What the program does itself, from the runner: a Pulumi provider that it brings along, one noun a file.

The engine starts `pulumi-resource-django-do-runner` (Pulumi.yaml, `plugins.providers`). `plugin.py` answers it and
gives each request to the class of the resource: those of objects in the Spaces are in `uploads/`, those that keep
visitors served in `traffic/`. The program declares the resources by `resources.py`. See
docs/adr/0014-own-provider-plugin.md.
"""
