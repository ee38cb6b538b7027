"""The section `web.certificate`."""

from pydantic import Field, SecretStr

from config.section import Section

BEGIN = "-----BEGIN CERTIFICATE-----"


class CertificateConfig(Section):
    """The user's own certificate, for the load balancer."""

    chain: SecretStr = Field(description="certificate and intermediate ones, PEM; set it with --secret")
    private_key: SecretStr = Field(description="its key, PEM without a password; set it with --secret")

    @property
    def certificates(self) -> list[str]:
        """The chain's certificates, PEM, the site's own first."""
        pieces = self.chain.get_secret_value().split(BEGIN)[1:]
        return [f"{BEGIN}{piece.rstrip()}\n" for piece in pieces]
