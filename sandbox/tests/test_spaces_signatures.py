"""Signatures of Spaces at depth `api`: what is malformed is S3's error, whatever it is, and never the server's."""

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import create_environ

from sandbox.model.store import Store
from sandbox.parts.spaces import signatures
from sandbox.parts.spaces.local import Spaces, application
from sandbox.tests.spaces_client import HOST
from sandbox.world import world as worlds

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
DAY, AT = NOW.strftime("%Y%m%d"), NOW.strftime("%Y%m%dT%H%M%SZ")
SCOPE = f"KEY/{DAY}/us-east-1/s3/aws4_request"
HEADER = f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host;x-amz-date, Signature=00"
URL = {
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": SCOPE,
    "X-Amz-Date": AT,
    "X-Amz-Expires": "60",
    "X-Amz-SignedHeaders": "host",
    "X-Amz-Signature": "00",
}
URL_2 = {"AWSAccessKeyId": "KEY", "Signature": "x", "Expires": str(int(NOW.timestamp()) + 600)}
Ask = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def spaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spaces]:
    """Spaces of a world without processes, called as the server calls it, at the time that the requests have."""
    world = worlds.create(tmp_path_factory.mktemp("spaces") / "w", "api", proxy_port=1)
    Store(world.database).close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signatures, "time", SimpleNamespace(time=NOW.timestamp))
        yield application(world)


@pytest.fixture(scope="module")
def ask(spaces: Spaces) -> Ask:
    """Ask for a path of nyc3; the status and the code of the answer."""

    def answer(raw: str = "/bucket/key", *, method: str = "GET", body: bytes = b"", **headers: str) -> tuple[int, str]:
        environ: dict[str, Any] = create_environ() | {
            "REQUEST_METHOD": method,
            "RAW_URI": raw,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "HTTP_HOST": HOST,
        }
        environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        statuses: list[str] = []
        content = b"".join(spaces(environ, lambda status, _: statuses.append(status)))  # type: ignore[arg-type]
        return int(statuses[0][:3]), content.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()

    return answer


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", (400, "InvalidArgument")),
        ("AWS4-HMAC-SHA256", (400, "AuthorizationHeaderMalformed")),
        ("Bearer token", (400, "InvalidArgument")),
        (HEADER.replace("Credential=", "Cred="), (400, "AuthorizationHeaderMalformed")),
        (HEADER.replace(", Signature=00", ""), (400, "AuthorizationHeaderMalformed")),
        (HEADER.replace("SignedHeaders=host", "SignedHeaders"), (400, "AuthorizationHeaderMalformed")),
        (f"{HEADER}, Signature=01", (400, "AuthorizationHeaderMalformed")),
        (HEADER.replace("/s3/", "/sqs/"), (400, "AuthorizationHeaderMalformed")),
        (HEADER.replace("/us-east-1/s3", ""), (400, "AuthorizationHeaderMalformed")),
        (HEADER.replace(DAY, "20200101"), (400, "AuthorizationHeaderMalformed")),
        (HEADER.replace("host;", ""), (400, "AuthorizationHeaderMalformed")),
        (HEADER, (403, "InvalidAccessKeyId")),
        ("AWS", (400, "InvalidArgument")),
        ("AWS KEY", (400, "InvalidArgument")),
        ("AWS :signature", (400, "InvalidArgument")),
        ("AWS KEY:signature", (403, "InvalidAccessKeyId")),
    ],
)
def test_headers_that_cannot_be_read_are_errors(ask: Ask, header: str, expected: tuple[int, str]) -> None:
    """Schemes, missing and doubled fields, scopes, dates."""
    assert ask(authorization=header, x_amz_date=AT) == expected


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("", (403, "AccessDenied")),
        ("yesterday", (403, "AccessDenied")),
        ("20261399T000000Z", (403, "AccessDenied")),
        ((NOW - timedelta(hours=1)).strftime("%Y%m%dT%H%M%SZ"), (403, "RequestTimeTooSkewed")),
        ((NOW + timedelta(hours=1)).strftime("%Y%m%dT%H%M%SZ"), (403, "RequestTimeTooSkewed")),
    ],
    ids=["none", "a word", "no month", "an hour ago", "in an hour"],  # the same for every worker that collects them
)
def test_the_time_of_a_request_is_near(ask: Ask, date: str, expected: tuple[int, str]) -> None:
    """A quarter of an hour, as S3 has it, for both versions."""
    assert ask(authorization=HEADER, x_amz_date=date) == expected
    assert ask(authorization="AWS KEY:signature", x_amz_date=date) == expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, (403, "InvalidAccessKeyId")),
        *(({name: ""}, (400, "AuthorizationQueryParametersError")) for name in URL),
        ({"X-Amz-Algorithm": "AWS4-HMAC-SHA512"}, (400, "AuthorizationQueryParametersError")),
        ({"X-Amz-Expires": "604801"}, (400, "AuthorizationQueryParametersError")),
        ({"X-Amz-Expires": "0"}, (400, "AuthorizationQueryParametersError")),
        ({"X-Amz-Expires": "-5"}, (400, "AuthorizationQueryParametersError")),
        ({"X-Amz-Expires": "soon"}, (400, "AuthorizationQueryParametersError")),
        ({"X-Amz-Date": "now"}, (400, "AuthorizationQueryParametersError")),
        ({"X-Amz-Date": (NOW + timedelta(days=2)).strftime("%Y%m%dT%H%M%SZ")}, (403, "AccessDenied")),
        ({"X-Amz-Date": (NOW - timedelta(hours=2)).strftime("%Y%m%dT%H%M%SZ")}, (403, "AccessDenied")),
        ({"X-Amz-Credential": "KEY"}, (400, "AuthorizationQueryParametersError")),
    ],
)
def test_urls_that_cannot_be_read_are_errors(ask: Ask, changed: dict[str, str], expected: tuple[int, str]) -> None:
    """Version 4: what is missing, out of range, or over."""
    query = "&".join(f"{name}={value.replace('/', '%2F')}" for name, value in (URL | changed).items())
    assert ask(f"/bucket/key?{query}") == expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, (403, "InvalidAccessKeyId")),
        *(({name: ""}, (403, "AccessDenied")) for name in URL_2),
        ({"Expires": "tomorrow"}, (403, "AccessDenied")),
        ({"Expires": "1"}, (403, "AccessDenied")),
    ],
)
def test_urls_of_version_2_are_read_strictly(ask: Ask, changed: dict[str, str], expected: tuple[int, str]) -> None:
    """What is missing, no number, or over."""
    assert ask("/bucket/key?" + "&".join(f"{name}={value}" for name, value in (URL_2 | changed).items())) == expected


def test_one_signature_is_enough(ask: Ask) -> None:
    """A header and a signed URL at once are ambiguous."""
    assert ask("/bucket/key?X-Amz-Signature=00", authorization=HEADER, x_amz_date=AT) == (400, "InvalidArgument")


@pytest.mark.parametrize(
    ("raw", "method", "expected"),
    [
        ("*", "OPTIONS", (400, "InvalidURI")),
        ("/bucket/%ff", "GET", (400, "InvalidURI")),
        ("/bucket/" + "k" * 1025, "GET", (400, "KeyTooLongError")),
        ("/", "PUT", (405, "MethodNotAllowed")),
        ("/bucket", "PATCH", (405, "MethodNotAllowed")),
        ("/bucket/key?website", "GET", (501, "NotImplemented")),
    ],
)
def test_requests_that_mean_nothing_are_errors(ask: Ask, raw: str, method: str, expected: tuple[int, str]) -> None:
    """Paths and methods."""
    assert ask(raw, method=method) == expected


_words = st.sampled_from(["AWS4-HMAC-SHA256", "AWS", "Credential", "SignedHeaders", "Signature", SCOPE, AT, DAY, "KEY"])
_marks = st.sampled_from(
    ["=", ",", ";", "/", ":", " ", "host", "s3", "aws4_request", "9" * 30, "-1", "%", "\x7f", "{}"]
)
_texts = st.lists(_words | _marks | st.text(st.characters(max_codepoint=255), max_size=5), max_size=12).map("".join)
_names = st.sampled_from([*URL, *URL_2, "versionId", "uploadId", "partNumber", "max-keys", "encoding-type", "acl", "x"])
_queries = st.dictionaries(_names, st.sampled_from([*URL.values(), *URL_2.values()]) | _texts, max_size=9)
_headers = st.fixed_dictionaries(
    {},
    optional={
        "authorization": _texts | st.just(HEADER),
        "x_amz_date": _texts | st.just(AT),
        "date": _texts,
        "x_amz_content_sha256": _texts | st.just("STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        "content_md5": _texts,
        "range": _texts,
        "if_modified_since": _texts,
        "x_amz_acl": _texts,
        "x_amz_grant_read": _texts,
        "x_amz_copy_source": _texts,
        "origin": _texts,
    },
)


@settings(max_examples=200, deadline=None, derandomize=True)  # thousands of others were tried by hand
@given(query=_queries, headers=_headers, method=st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"]))
def test_whatever_comes_without_a_key_is_refused(
    ask: Ask, query: dict[str, str], headers: dict[str, str], method: str
) -> None:
    """No header and no query of anybody who has no key makes the server fail, or lets him in."""
    text = "&".join(f"{name}={value.replace('&', '%26').replace('?', '%3F')}" for name, value in query.items())
    status, _ = ask(f"/bucket/key?{text}", method=method, body=b"x", **headers)
    assert status in {400, 403, 404, 405, 501}


@settings(max_examples=200, deadline=None, derandomize=True)  # thousands of others were tried by hand
@given(
    query=st.dictionaries(_names.filter(lambda name: name not in {*URL, *URL_2}), _texts, max_size=4),
    headers=_headers.map(lambda headers: {name: value for name, value in headers.items() if name != "authorization"}),
    method=st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"]),
    raw=st.sampled_from(["/", "/bucket", "/bucket/key"]),
    what=st.sampled_from(
        ["", "cors", "lifecycle", "logging", "policy", "versioning", "acl", "delete", "uploads", "tagging"]
    ),
    body=st.sampled_from([b"", b"<", b"<Delete/>", b"<CORSConfiguration/>", b"<a/>", b"{}", b"[]", b'{"Statement": 1}'])
    | st.sampled_from([b"<LifecycleConfiguration><Rule/></LifecycleConfiguration>", b"<BucketLoggingStatus>x"])
    | st.binary(max_size=8),
)
def test_the_owner_s_nonsense_is_an_error_of_s3(  # noqa: PLR0917 - what a request is made of
    spaces: Spaces,
    ask: Ask,
    monkeypatch_module: pytest.MonkeyPatch,
    query: dict[str, str],
    headers: dict[str, str],
    method: str,
    raw: str,
    what: str,
    body: bytes,
) -> None:
    """A request that is signed rightly, and says what nobody understands, is answered, and not with a failure."""
    everything = [{"bucket": "", "permission": "fullaccess"}]
    monkeypatch_module.setattr(spaces, "_grants", lambda _: everything)
    ask("/bucket", method="PUT")
    text = "&".join(f"{name}={value.replace('&', '%26').replace('?', '%3F')}" for name, value in query.items())
    status, _ = ask(f"{raw}?{what}&{text}", method=method, body=body, **headers)
    monkeypatch_module.undo()
    assert status < 500 or status == 501


@pytest.fixture(scope="module")
def monkeypatch_module() -> pytest.MonkeyPatch:
    """A patch that a property may use: it puts back what it changes after each example."""
    return pytest.MonkeyPatch()
