"""Certificates keep DigitalOcean's rules: uploaded ones are checked, Let's Encrypt's are for names of the account."""

from http import HTTPStatus
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.api_client import Api, Body, until
from tests.certificates import Authority


@pytest.fixture
def upload(tmp_path: Path) -> Body:
    """What a customer uploads: certificate, key, and who signed it."""
    authority = Authority("customer's CA")
    crt, key = authority.issue("shop.example", tmp_path / "shop")
    pem = {"leaf_certificate": crt.read_text(), "private_key": key.read_text(), "certificate_chain": authority.pem}
    return {"name": "mine", "type": "custom", **pem}


def managed(api: Api, **fields: object) -> Body:
    """One of Let's Encrypt, as soon as it is decided upon."""
    body = {"name": "theirs", "type": "lets_encrypt", "dns_names": ["shop.example", "www.shop.example"]}
    made = api.ok(api.post("/v2/certificates", body | fields))["certificate"]
    assert made["state"] == "pending"
    return until(
        lambda: api.ok(api.raw.get(f"/v2/certificates/{made['id']}"))["certificate"],
        lambda found: found["state"] != "pending",
    )


def serve(api: Api, certificate_id: str, **fields: object) -> Body:
    """A load balancer with a certificate, when it is active."""
    rule = {"entry_protocol": "https", "entry_port": 443, "target_protocol": "http", "target_port": 80}
    rule |= {"certificate_id": certificate_id}
    body = {"name": "lb", "region": "nyc3", "forwarding_rules": [rule]}
    made = api.ok(api.post("/v2/load_balancers", body | fields))["load_balancer"]
    return until(
        lambda: api.ok(api.raw.get(f"/v2/load_balancers/{made['id']}"))["load_balancer"],
        lambda found: found["status"] == "active",
    )


def test_an_uploaded_one_is_verified_at_once(api: Api, upload: Body) -> None:
    """It is found by its name, says what is in it, and never its key; a chain may repeat it."""
    certificate = x509.load_pem_x509_certificate(upload["leaf_certificate"].encode())
    whole = upload | {"certificate_chain": upload["leaf_certificate"] + upload["certificate_chain"]}
    response = api.post("/v2/certificates", whole)
    made = api.ok(response)["certificate"]
    assert response.status_code == HTTPStatus.CREATED
    assert made == {
        "id": made["id"],
        "name": "mine",
        "created_at": made["created_at"],
        "not_after": certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "sha1_fingerprint": certificate.fingerprint(hashes.SHA1()).hex(),  # noqa: S303 - the API's own word for it
        "dns_names": ["shop.example"],
        "state": "verified",
        "type": "custom",
    }
    assert api.ok(api.raw.get("/v2/certificates?name=mine"))["certificates"] == [made]
    assert api.ok(api.raw.get("/v2/certificates?name=other"))["certificates"] == []
    assert api.raw.delete(f"/v2/certificates/{made['id']}").status_code == HTTPStatus.NO_CONTENT
    assert api.raw.get(f"/v2/certificates/{made['id']}").status_code == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"private_key": ""}, "private_key: required"),
        ({"leaf_certificate": ""}, "leaf_certificate: required"),
        ({"private_key": "a key"}, "private_key: must be a key in PEM"),
        ({"leaf_certificate": "a certificate"}, "leaf_certificate: must be certificates in PEM"),
        ({"certificate_chain": "a chain"}, "certificate_chain: must be certificates in PEM"),
        ({"dns_names": ["shop.example"]}, "dns_names: is for certificates of the type lets_encrypt"),
        ({"type": "lets_encrypt"}, "private_key: is for certificates of the type custom"),
        ({"name": ""}, "name: must not be empty"),
        ({"type": "letsencrypt"}, "type: Input should be"),
    ],
)
def test_what_breaks_a_rule_is_refused(api: Api, upload: Body, fields: Body, said: str) -> None:
    """With the rule; no answer has a key in it."""
    response = api.post("/v2/certificates", upload | fields)
    assert (response.status_code, said in response.json()["message"]) == (422, True), response.text
    assert "PRIVATE KEY" not in response.text


def test_key_certificate_and_chain_must_fit(api: Api, upload: Body, tmp_path: Path) -> None:
    """Another certificate's key, another authority, one that has ended, and a name that is taken."""
    other = Authority("another CA")
    crt, key = other.issue("shop.example", tmp_path / "other")
    old, old_key = other.issue("shop.example", tmp_path / "old", days=-1, since=30)
    for fields, said in (
        ({"private_key": key.read_text()}, "private_key: must be the key of leaf_certificate"),
        ({"certificate_chain": other.pem}, "certificate_chain: each must be signed by the next"),
        (
            {"leaf_certificate": old.read_text(), "private_key": old_key.read_text(), "certificate_chain": ""},
            "leaf_certificate: must be valid, but it ended on",
        ),
    ):
        refused = api.post("/v2/certificates", upload | fields)
        assert (refused.status_code, said in refused.json()["message"]) == (422, True), refused.text
    api.ok(api.post("/v2/certificates", upload))
    again = api.post("/v2/certificates", upload | {"leaf_certificate": crt.read_text(), "private_key": key.read_text()})
    assert (again.status_code, "name: must be unique" in again.json()["message"]) == (422, True)


def test_lets_encrypts_are_for_names_of_the_account(api: Api) -> None:
    """Of any depth below one of its zones, a wildcard too; others are refused before anybody is asked."""
    api.client.domains.create({"name": "shop.example"})
    names = ["*.shop.example", "a.b.shop.example"]
    certificate = managed(api, dns_names=names)
    assert (certificate["state"], certificate["dns_names"]) == ("verified", names)
    assert certificate["sha1_fingerprint"]
    for wrong in (["other.example"], ["shop.example", "notshop.example"], []):
        body = {"name": "wrong", "type": "lets_encrypt", "dns_names": wrong}
        refused = api.post("/v2/certificates", body)
        assert (refused.status_code, "dns_names" in refused.json()["message"]) == (422, True)


def test_one_that_is_used_stays(api: Api, upload: Body) -> None:
    """With 403, in the words that the official provider waits for, until its load balancer is gone."""
    certificate = api.ok(api.post("/v2/certificates", upload))["certificate"]
    balancer = serve(api, certificate["id"])
    refused = api.raw.delete(f"/v2/certificates/{certificate['id']}")
    assert refused.status_code == HTTPStatus.FORBIDDEN
    assert "Make sure the certificate is not in use before deleting it" in refused.json()["message"]
    assert api.raw.delete(f"/v2/load_balancers/{balancer['id']}").status_code == HTTPStatus.NO_CONTENT
    assert api.raw.delete(f"/v2/certificates/{certificate['id']}").status_code == HTTPStatus.NO_CONTENT


def addresses(api: Api) -> set[tuple[str, str]]:
    """Name and data of the zone's address records."""
    records = api.client.domains.list_records("shop.example", type="A")["domain_records"]
    return {(record["name"], record["data"]) for record in records}


def test_names_lead_to_their_balancer(api: Api) -> None:
    """Of Let's Encrypt's certificates, unless that is switched off; records that are there stay."""
    api.client.domains.create({"name": "shop.example", "ip_address": "192.0.2.7"})
    certificate = managed(api)
    off = serve(api, certificate["id"], disable_lets_encrypt_dns_records=True)
    assert addresses(api) == {("@", "192.0.2.7")}
    body = {name: off[name] for name in ("name", "forwarding_rules")}
    api.ok(api.raw.put(f"/v2/load_balancers/{off['id']}", json=body))
    assert addresses(api) == {("@", "192.0.2.7"), ("@", off["ip"]), ("www", off["ip"])}


def test_a_renewed_one_has_its_name_and_another_id(api: Api) -> None:
    """Its load balancers follow; an uploaded one renews never."""
    api.client.domains.create({"name": "shop.example"})
    old = managed(api)
    balancer = serve(api, old["id"])
    new = api.ok(api.raw.post(f"/_sandbox/certificates/{old['id']}/renew"))["certificate"]
    assert (new["name"], new["state"]) == (old["name"], "verified")
    assert new["sha1_fingerprint"] != old["sha1_fingerprint"]
    assert api.ok(api.raw.get(f"/v2/certificates?name={old['name']}"))["certificates"] == [new]
    [rule] = api.ok(api.raw.get(f"/v2/load_balancers/{balancer['id']}"))["load_balancer"]["forwarding_rules"]
    assert rule["certificate_id"] == new["id"]
    assert api.raw.post(f"/_sandbox/certificates/{old['id']}/renew").status_code == HTTPStatus.NOT_FOUND
