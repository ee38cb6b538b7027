"""Alert policies are kept as they are sent, and refused when they could tell nobody anything."""

from http import HTTPStatus

import pytest

from tests.api_client import Api, Body

POLICY: Body = {
    "alerts": {"email": ["ops@shop.example"], "slack": []},
    "compare": "GreaterThan",
    "description": "CPU",
    "enabled": True,
    "entities": [],
    "tags": ["web"],
    "type": "v1/insights/droplet/cpu",
    "value": 90.0,
    "window": "5m",
}


def test_a_policy_lives_and_dies(api: Api) -> None:
    """By DigitalOcean's own client."""
    monitoring = api.client.monitoring
    made = monitoring.create_alert_policy(POLICY)["policy"]
    assert made == POLICY | {"uuid": made["uuid"]}
    assert monitoring.list_alert_policy()["policies"] == [made]
    changed = monitoring.update_alert_policy(made["uuid"], POLICY | {"value": 80.0})["policy"]
    assert changed == made | {"value": 80.0}
    assert monitoring.get_alert_policy(made["uuid"])["policy"] == changed
    monitoring.delete_alert_policy(made["uuid"])
    assert monitoring.list_alert_policy()["policies"] == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"type": "v1/insights/droplet/temperature"}, "type: must be one of "),
        ({"window": "2m"}, "window: "),
        ({"alerts": {"email": [], "slack": []}}, "alerts: must name an e-mail address or a Slack channel"),
        ({"alerts": {"email": [], "slack": [{"channel": "#ops"}]}}, "alerts.slack.0.url: required"),
    ],
)
def test_bad_policies_are_refused(api: Api, fields: Body, said: str) -> None:
    """With the field's name."""
    answer = api.post("/v2/monitoring/alerts", POLICY | fields)
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert said in answer.json()["message"]
