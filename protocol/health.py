"""How the load balancer finds out whether a Droplet serves, and how a visitor can tell which one served.

The ranges of the settings are in DigitalOcean's OpenAPI, health_check.yml: seconds from 3 to 300, counts from 2 to 10.
"""

import hashlib

CHECK_PATH = "/healthz"
CHECK_SECONDS = 3  # between two checks
ANSWER_SECONDS = 3  # for an answer
# A restart of Gunicorn lets one check wait, and sometimes two.
FAILURES = 3
SUCCESSES = 2

# Seconds after which no visitor is sent to a Droplet that does not answer any more: a check that was just over, then
# those that fail, each of which may take as long as an answer may.
UNHEALTHY_WITHIN = CHECK_SECONDS + FAILURES * max(CHECK_SECONDS, ANSWER_SECONDS)


def mark(droplet_id: object) -> str:
    """Return what /healthz says of who answers: the runner knows it by that, a stranger learns no id."""
    return hashlib.sha256(str(droplet_id).encode()).hexdigest()[:12]
