"""Alerts: who is told when the Droplets run short of something."""

from dataclasses import dataclass

import pulumi

from components import digitalocean
from config.alerts import AlertsConfig

# Metric of DigitalOcean's monitoring -> what it means, and the percentage from which it is worth a message. Each can be
# written exactly as a 32-bit number, which is what the provider keeps it in: another one would differ at every refresh.
THRESHOLDS = {
    "cpu": ("CPU", 90.0),
    "memory_utilization_percent": ("memory", 90.0),
    "disk_utilization_percent": ("disk", 80.0),
}
WINDOW = "5m"


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertsArgs:
    """Which Droplets, and who is told; with nobody to tell there are no alerts."""

    web_tag: pulumi.Input[str]
    settings: AlertsConfig


class Alerts(pulumi.ComponentResource):
    """CPU, memory and disk of the web Droplets; by tag, so that later Droplets are covered at once."""

    def __init__(self, name: str, args: AlertsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("django-do:alerts:Alerts", name, None, opts)
        email, slack = args.settings.email, args.settings.slack
        told = digitalocean.MonitorAlertAlertsArgs(
            emails=list(email) or None,
            slacks=[
                digitalocean.MonitorAlertAlertsSlackArgs(
                    channel=one.channel, url=pulumi.Output.secret(one.url.get_secret_value())
                )
                for one in slack
            ]
            or None,
        )
        for metric, (what, threshold) in THRESHOLDS.items() if email or slack else ():
            digitalocean.MonitorAlert(
                f"{name}-{what.lower()}-alert",
                type=f"v1/insights/droplet/{metric}",
                description=f"{name}: {what} above {threshold:.0f} % for {WINDOW}",
                compare="GreaterThan",
                value=threshold,
                window=WINDOW,
                tags=[args.web_tag],
                alerts=told,
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({})
