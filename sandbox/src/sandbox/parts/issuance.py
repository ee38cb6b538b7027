"""DigitalOcean's own client of Let's Encrypt: it proves names of the account's zones by records in the world's DNS."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from acme import challenges, client, crypto_util, messages
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from josepy.jwk import JWK, JWKRSA

from sandbox.model.realiser import RealiserError
from sandbox.network import namespaces
from sandbox.parts import names as dns
from sandbox.world import pem, program
from sandbox.world.supervisor import Supervisor
from sandbox.world.world import ACME_HOST, World, load

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
_BITS = 2048


def obtain(world: World, names: list[str]) -> pem.Pair:
    """Get a certificate for these names, by a process on the internet side, where names are the world's."""
    command = ["ip", "netns", "exec", namespaces.INTERNET, sys.executable, "-m", "sandbox.parts.issuance"]
    command += ["--home", str(world.home), *names]
    variables = {name: value for name, value in os.environ.items() if name not in _PROXIES}
    variables |= {"REQUESTS_CA_BUNDLE": str(world.bundle)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=variables)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise RealiserError(f"no certificate for {', '.join(names)}: {reason[0]}")
    issued = json.loads(done.stdout)
    leaf, _, rest = issued["chain"].partition("-----END CERTIFICATE-----\n")
    return pem.read(f"{leaf}-----END CERTIFICATE-----\n", issued["key"], rest)


@contextmanager
def _proved(world: World, order: messages.OrderResource, acme: client.ClientV2, key: JWK) -> Iterator[None]:
    """Let the world's DNS answer an order's challenges."""
    records: list[tuple[str, str]] = []
    answers = []
    for authorization in order.authorizations:
        challenge = next(one for one in authorization.body.challenges if isinstance(one.chall, challenges.DNS01))
        response, text = challenge.response_and_validation(key)
        records.append((challenge.chall.validation_domain_name(authorization.body.identifier.value), text))
        answers.append((challenge, response))
    with dns.challenges(world, Supervisor(world), records):
        for challenge, response in answers:
            acme.answer_challenge(challenge, response)
        yield


def _issue(world: World, names: tuple[str, ...]) -> dict[str, str]:
    account = JWKRSA(key=rsa.generate_private_key(public_exponent=65537, key_size=_BITS))
    network = client.ClientNetwork(account, user_agent="sandbox")
    acme = client.ClientV2(client.ClientV2.get_directory(f"https://{ACME_HOST}/directory", network), network)
    acme.new_account(messages.NewRegistration.from_data(terms_of_service_agreed=True))
    private = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    key = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    order = acme.new_order(crypto_util.make_csr(key, list(names)))
    with _proved(world, order, acme, account):
        return {"chain": acme.poll_and_finalize(order).fullchain_pem, "key": key.decode()}


@click.command()
@program.home_option
@click.argument("names", nargs=-1, required=True)
def main(home: Path, names: tuple[str, ...]) -> None:
    """Print a certificate for NAMES, and its key, as JSON."""
    json.dump(_issue(load(home), names), sys.stdout)


if __name__ == "__main__":
    main()
