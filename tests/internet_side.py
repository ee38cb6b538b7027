"""Run Python on the internet side of a full world, with what `sandbox exec` gives its commands."""

import json
import sys
from typing import Any

from sandbox.world.world import World
from tests.commands import run

# What every piece may use. The clients are configured as the program's are: names, no endpoints of the sandbox's own.
PREAMBLE = """
import json, os, socket, ssl, subprocess, sys, time, urllib.error, urllib.request

given = json.loads(sys.argv[1])

class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments):
        return None

def fetch(url, method="GET", body=None, **headers):
    "Status, headers in lower case, and text of an answer."
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, method=method, headers=headers, data=body)
    try:
        answer = urllib.request.build_opener(NoRedirect).open(request, timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read().decode()

def api(method, path, body=None):
    status, _, text = fetch(
        "https://api.digitalocean.com" + path, method, json.dumps(body).encode() if body is not None else None,
        Authorization="Bearer " + os.environ["DIGITALOCEAN_TOKEN"], Content_Type="application/json",
    )
    assert status < 300, (method, path, status, text)
    return json.loads(text) if text else None
"""
# The same for pieces that use Spaces: boto3 takes longer to import than most others take in all.
SPACES = """
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

def s3(region="nyc3", access=os.environ["SPACES_ACCESS_KEY_ID"], secret=os.environ["SPACES_SECRET_ACCESS_KEY"]):
    return boto3.client(
        "s3", endpoint_url=f"https://{region}.digitaloceanspaces.com", region_name=region,
        aws_access_key_id=access, aws_secret_access_key=secret,
        config=Config(
            s3={"addressing_style": "virtual"}, request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )

def code(call, **arguments):
    "S3's error code for a call, or OK."
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "OK"
"""


def python(world: World, source: str, *, timeout: float = 120, **given: object) -> Any:  # noqa: ANN401 - JSON
    """Run a piece of Python; return what it puts into `answer`. Keyword arguments are its `given`, by JSON."""
    spaces = SPACES if "s3(" in source else ""
    program = f"{PREAMBLE}{spaces}\n{source}\nprint(json.dumps(answer))\n"
    done = run("sandbox", "exec", sys.executable, "-c", program, json.dumps(given), home=world.home, timeout=timeout)
    return json.loads(done.stdout.splitlines()[-1])
