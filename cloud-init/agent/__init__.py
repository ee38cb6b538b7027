"""The release agent: makes this Droplet run the release that is desired, and keeps its certificate.

The standard library and pycurl only. It runs as root, to switch releases and restart Gunicorn; code of the app runs as
the user `release`, never as root. The documents are those of docs/releases.md, read and written by `protocol`.
"""
