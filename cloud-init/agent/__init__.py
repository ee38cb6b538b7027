"""The release agent: makes this Droplet run the release that the bucket `releases` desires, and reports how far that is.

It runs as root to switch releases and restart Gunicorn. Code of the app runs as the user `release`, never as root. The
documents are those of docs/releases.md.
"""
