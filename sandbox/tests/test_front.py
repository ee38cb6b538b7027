"""The door of a full world: TLS for DigitalOcean's names, and a CDN that caches as its endpoint says."""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from sandbox.model.topology import CdnEndpoint, Topology
from sandbox.parts.front import front
from sandbox.world.world import World
from tests.internet_side import python

pytestmark = pytest.mark.full

SITE = "https://polls.example"
COUNT_DEADLINE = 5.0  # seconds: nginx writes its log after it has answered
TTL_DEADLINE = 20.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Cdn:
    """A bucket with CORS for SITE, and a CDN endpoint in front of it."""

    bucket: str
    endpoint: str
    id: str

    @property
    def origin(self) -> str:
        """Host name of the Space."""
        return f"{self.bucket}.nyc3.digitaloceanspaces.com"

    def url(self, key: str) -> str:
        """Address of an object on the CDN."""
        return f"https://{self.endpoint}/{key}"


@pytest.fixture(scope="module")
def cdn(full_world: World) -> Iterator[Cdn]:
    """A CDN endpoint made through the API."""
    bucket = f"cdn-{secrets.token_hex(4)}"
    made = python(
        full_world,
        """
b = given["bucket"]
s3().create_bucket(Bucket=b)
s3().put_bucket_cors(Bucket=b, CORSConfiguration={"CORSRules": [
    {"AllowedMethods": ["GET", "HEAD"], "AllowedOrigins": [given["site"]], "MaxAgeSeconds": 600}]})
for key in ("counted", "cors", "signed", "changing"):
    s3().put_object(Bucket=b, Key=key, Body=b"first", ACL="private" if key == "signed" else "public-read")
answer = api("POST", "/v2/cdn/endpoints", {"origin": b + ".nyc3.digitaloceanspaces.com", "ttl": 3600})["endpoint"]
""",
        bucket=bucket,
        site=SITE,
    )
    yield Cdn(bucket=bucket, endpoint=made["endpoint"], id=made["id"])
    python(
        full_world,
        """
api("DELETE", "/v2/cdn/endpoints/" + given["id"])
for key in ("counted", "cors", "signed", "changing"):
    s3().delete_object(Bucket=given["bucket"], Key=key)
s3().delete_bucket(Bucket=given["bucket"])
answer = None
""",
        bucket=bucket,
        id=made["id"],
    )


def settled(count: Callable[[], int], expected: int) -> int:
    """Poll a counter until it is as expected or the deadline has passed; return the last value."""
    deadline = time.monotonic() + COUNT_DEADLINE
    while (last := count()) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    return last


def test_the_second_request_is_a_hit_and_does_not_reach_the_space(full_world: World, cdn: Cdn) -> None:
    """X-Cache says MISS, then HIT, and the origin counts one request for three."""
    before = front.origin_requests(full_world, cdn.origin, "/counted")
    answer = python(
        full_world, 'answer = [fetch(given["url"])[1].get("x-cache") for _ in range(3)]', url=cdn.url("counted")
    )
    assert answer == ["MISS", "HIT", "HIT"]
    assert settled(lambda: front.origin_requests(full_world, cdn.origin, "/counted"), before + 1) == before + 1


def test_cors_answers_the_sites_origin_and_no_other_also_from_the_cache(full_world: World, cdn: Cdn) -> None:
    """What is cached for one origin is never answered to another one, nor to a request without."""
    answer = python(
        full_world,
        """
rows = []
for origin in (given["site"], "https://evil.example", None, given["site"], "https://evil.example"):
    _, headers, _ = fetch(given["url"], **({"Origin": origin} if origin else {}))
    rows.append([headers["x-cache"], headers.get("access-control-allow-origin")])
answer = rows
""",
        url=cdn.url("cors"),
        site=SITE,
    )
    assert answer == [["MISS", SITE], ["MISS", None], ["MISS", None], ["HIT", SITE], ["HIT", None]]


def test_a_preflight_is_answered_for_the_sites_origin_only(full_world: World, cdn: Cdn) -> None:
    """OPTIONS through the CDN is 200 for the site and 403 for others."""
    answer = python(
        full_world,
        """
answer = [fetch(given["url"], "OPTIONS", Origin=origin, Access_Control_Request_Method="GET")[0]
          for origin in (given["site"], "https://evil.example")]
""",
        url=cdn.url("cors"),
        site=SITE,
    )
    assert answer == [200, 403]


def test_a_signed_url_is_never_cached(full_world: World, cdn: Cdn) -> None:
    """A private object opens by a signed URL, from the Space each time."""
    answer = python(
        full_world,
        """
signed = s3().generate_presigned_url("get_object", Params={"Bucket": given["bucket"], "Key": "signed"})
signed = signed.replace(given["origin"], given["endpoint"])
answer = [(status, headers["x-cache"]) for status, headers, _ in (fetch(signed), fetch(signed))]
answer.append(fetch("https://" + given["endpoint"] + "/signed")[0])
""",
        bucket=cdn.bucket,
        origin=cdn.origin,
        endpoint=cdn.endpoint,
    )
    assert answer == [[200, "MISS"], [200, "MISS"], 403]


def test_an_object_leaves_the_cache_after_the_endpoints_ttl(full_world: World, cdn: Cdn) -> None:
    """Before it a changed object is still the old one; after it, the new one."""
    # The API takes no TTL below a minute, so this endpoint is put beside it; the API's own is served all the time.
    quick = f"quick-{cdn.endpoint}"
    kept = CdnEndpoint(id=cdn.id, endpoint=cdn.endpoint, origin=cdn.origin, ttl=3600)
    short = CdnEndpoint(id="quick", endpoint=quick, origin=cdn.origin, ttl=4)
    front.apply(full_world, Topology(cdn_endpoints=(kept, short)))
    try:
        answer = python(
            full_world,
            """
seen = [fetch(given["url"])[2]]
s3().put_object(Bucket=given["bucket"], Key="changing", Body=b"second", ACL="public-read")
seen.append(fetch(given["url"])[2])
deadline = time.monotonic() + given["deadline"]
while (last := fetch(given["url"])[2]) == "first" and time.monotonic() < deadline:
    time.sleep(0.2)
answer = [*seen, last]
""",
            url=f"https://{quick}/changing",
            bucket=cdn.bucket,
            deadline=TTL_DEADLINE,
        )
    finally:
        front.apply(full_world, Topology(cdn_endpoints=(kept,)))
    assert answer == ["first", "first", "second"]


def test_a_purged_object_is_asked_for_anew(full_world: World, cdn: Cdn) -> None:
    """What it keeps of other objects stays; a wildcard means all below."""
    answer = python(
        full_world,
        """
def seen():
    return [fetch(given["url"] + key)[2] for key in keys]

keys = ("one.txt", "css/a%20b.css")
for name in ("one.txt", "css/a b.css"):
    s3().put_object(Bucket=given["bucket"], Key=name, Body=b"first", ACL="public-read")
answer = [seen()]
for name in ("one.txt", "css/a b.css"):
    s3().put_object(Bucket=given["bucket"], Key=name, Body=b"second", ACL="public-read")
for files in ([], ["css/*"], ["one.txt"]):
    if files:
        api("DELETE", "/v2/cdn/endpoints/" + given["id"] + "/cache", {"files": files})
    answer.append(seen())
for name in ("one.txt", "css/a b.css"):
    s3().delete_object(Bucket=given["bucket"], Key=name)
""",
        url=cdn.url(""),
        bucket=cdn.bucket,
        id=cdn.id,
    )
    assert answer == [["first", "first"], ["first", "first"], ["first", "second"], ["second", "second"]]


def test_a_token_is_good_as_doctl_asks_for_it(full_world: World) -> None:
    """By another name than the API's, of which nothing else is there."""
    answer = python(
        full_world,
        """
token = "Bearer " + os.environ["DIGITALOCEAN_ACCESS_TOKEN"]
answer = [
    fetch("https://cloud.digitalocean.com" + path, Authorization=token)[0]
    for path in ("/v1/oauth/token/info", "/v2/account")
]
""",
    )
    assert answer == [200, 404]


def test_a_cdn_name_without_endpoint_is_not_found(full_world: World) -> None:
    """An endpoint that was never made, or no longer exists, is 404 under a valid certificate."""
    answer = python(full_world, 'answer = fetch("https://nobody.nyc3.cdn.digitaloceanspaces.com/")[0]')
    assert answer == 404


def test_a_cdn_does_not_take_writes(full_world: World, cdn: Cdn) -> None:
    """PUT is refused before it reaches the Space."""
    answer = python(full_world, 'answer = fetch(given["url"], "PUT", b"x")[0]', url=cdn.url("counted"))
    assert answer == 405


def test_the_gateways_administration_is_not_in_the_internet(full_world: World) -> None:
    """RGW's admin API and IAM are 404 for the account's own key too; an object may be called admin/…."""
    answer = python(
        full_world,
        """
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

account = Credentials(os.environ["SPACES_ACCESS_KEY_ID"], os.environ["SPACES_SECRET_ACCESS_KEY"])

def signed(method, path, body=None, host="nyc3.digitaloceanspaces.com"):
    request = AWSRequest(method=method, url=f"https://{host}{path}", data=body)
    S3SigV4Auth(account, "s3", "us-east-1").add_auth(request)
    return fetch(request.url, method, body, **request.headers)[0]

b = given["bucket"]
s3().create_bucket(Bucket=b)
s3().put_object(Bucket=b, Key="admin/user", Body=b"")
answer = [
    signed("GET", "/admin/user?uid=acct"),
    signed("GET", "//admin/user?uid=acct"),
    signed("POST", "/", b"Action=ListUsers&Version=2010-05-08"),
    signed("GET", "/"),
    signed("GET", "/admin/user", host=b + ".nyc3.digitaloceanspaces.com"),
]
s3().delete_object(Bucket=b, Key="admin/user")
s3().delete_bucket(Bucket=b)
""",
        bucket=f"admin-{secrets.token_hex(4)}",
    )
    assert answer == [404, 404, 404, 200, 200]


def test_foreign_names_get_no_certificate(full_world: World) -> None:
    """A client that asks for a name that is not DigitalOcean's is turned away in the handshake."""
    answer = python(
        full_world,
        """
context = ssl.create_default_context()
try:
    with socket.create_connection(("198.51.100.1", 443), 5) as plain:
        context.wrap_socket(plain, server_hostname="polls.example")
    answer = "handshake"
except ssl.SSLError as error:
    answer = error.reason
""",
    )
    assert answer == "TLSV1_UNRECOGNIZED_NAME"


def test_plain_http_leads_to_https(full_world: World) -> None:
    """The API, Spaces and CDN names redirect on port 80."""
    hosts = ["api.digitalocean.com", "x.nyc3.digitaloceanspaces.com", "x.nyc3.cdn.digitaloceanspaces.com"]
    answer = python(
        full_world,
        """
answers = [fetch(f"http://{host}/a?b") for host in given["hosts"]]
answer = [[status, headers["location"]] for status, headers, _ in answers]
""",
        hosts=hosts,
    )
    assert answer == [[301, f"https://{host}/a?b"] for host in hosts]
