"""The section `alerts`."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from config.section import Section
from config.values import Email, Unique, pattern, wrong


def _webhook(value: SecretStr) -> SecretStr:
    # The value is a password, so that no message shows it.
    if not value.get_secret_value().startswith("https://hooks.slack.com/services/"):
        raise wrong("webhook", "must be a webhook of Slack, https://hooks.slack.com/services/…")
    return value


class SlackConfig(Section):
    """A channel of Slack."""

    channel: Annotated[str, pattern(r"#?\S{1,80}", "a channel's name")] = Field(description="the channel's name")
    url: Annotated[SecretStr, AfterValidator(_webhook)] = Field(
        description="an incoming webhook, https://hooks.slack.com/services/…; set it with --secret"
    )


class AlertsConfig(Section):
    """Who is told when the Droplets are short of CPU, memory or disk."""

    email: Annotated[tuple[Email, ...], Unique] = Field(
        default=(), description="addresses to write to; each must be verified in the DigitalOcean account"
    )
    slack: tuple[SlackConfig, ...] = Field(default=(), description="Slack channels, each with channel and url")
