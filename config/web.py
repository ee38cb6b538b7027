"""The section `web`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from config.certificate import CertificateConfig
from config.section import Section
from config.values import PACKAGE, Email, Unique, auto_or_number, pattern, wrong
from sizing import budget, plans


def _is_size(value: str) -> bool:
    try:
        plans.droplet_plan(value)
    except plans.UnknownPlanError:
        return False
    return True


def _droplet_size(value: str) -> str:
    if not _is_size(value):
        meant = value.removeprefix("db-")
        raise wrong("plan", "must be a Droplet size", f"write {meant}" if _is_size(meant) else "")
    return value


# As many as benchmarks/scale.py has measured. A balancer takes any number by a tag; what else limits them depends on
# other settings (config/rules.py) or on the account, whose limit an update asks for.
MOST = 200


class WebConfig(Section):
    """The Droplets, and what stands before them."""

    count: int = Field(
        default=1, ge=1, le=MOST, description=f"how many Droplets, at most {MOST}; more than 1 need loadBalancer"
    )
    load_balancer: bool = Field(
        default=False, description="true puts DigitalOcean's load balancer before the Droplets, and TLS there"
    )
    public_network: bool = Field(
        default=True,
        description="false gives the Droplets no public address: they leave by a NAT gateway; needs loadBalancer",
    )
    max_unavailable: int = Field(
        default=1, ge=1, description="how many Droplets may get a release at once, after the first"
    )
    certificate: CertificateConfig | None = Field(
        default=None, description="chain and privateKey of your own certificate, for the load balancer"
    )
    size: Annotated[str, AfterValidator(_droplet_size)] = Field(description="a Droplet size such as s-1vcpu-1gb")
    image: Annotated[str, pattern(r"debian-13-x64|[1-9]\d*", "debian-13-x64 or the id of a snapshot of it")] = Field(
        default="debian-13-x64", description="debian-13-x64, or the number of a snapshot of it"
    )
    packages: Annotated[tuple[Annotated[str, pattern(PACKAGE, "the name of a Debian package")], ...], Unique] = Field(
        default=(), description="Debian packages that the app needs"
    )
    workers: Annotated[Literal["auto"] | int, auto_or_number(64)] = Field(
        default="auto", description="auto (from the size) or Gunicorn workers"
    )
    threads: Annotated[Literal["auto"] | int, auto_or_number(64)] = Field(
        default="auto", description=f"auto ({budget.DEFAULT_THREADS}) or threads of one worker"
    )
    backups: bool = Field(
        default=False,
        description="true has DigitalOcean back up the Droplets every week (the database always is, every day)",
    )
    acme_email: Email | None = Field(
        default=None, description="where Let's Encrypt may write to about the certificate of a Droplet"
    )
