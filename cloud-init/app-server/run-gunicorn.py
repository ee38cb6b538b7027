"""Becomes Gunicorn of a release, with the settings that systemd handed over as a credential.

With arguments it becomes the release's Python with these, confined as Gunicorn is.
"""

import json
import os
import sys
from pathlib import Path

RELEASES = Path("/srv/app/releases")

settings = json.loads(Path(os.environ["CREDENTIALS_DIRECTORY"], "environment").read_text())
# Not /srv/app/current: were it switched right now, code and settings of two releases would meet.
release = RELEASES / settings["env"]["RELEASE"]
binaries = release / "venv" / "bin"
os.chdir(release / "app")
os.execve(  # noqa: S606 - no shell is the point
    binaries / ("python" if sys.argv[1:] else "gunicorn"),
    ["python", *sys.argv[1:]]
    if sys.argv[1:]
    else ["gunicorn", "--config", "/etc/gunicorn/gunicorn.conf.py", "droplet_health:application"],
    {
        **os.environ,
        "PATH": f"{binaries}:/usr/bin:/bin",
        "WSGI_APPLICATION": settings["wsgi"],
        **settings["env"],
    },
)
