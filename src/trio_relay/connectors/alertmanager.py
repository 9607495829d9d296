"""Prometheus Alertmanager's ``webhook_config``, format version 4: every alert is an event, and over when it is resolved.

A notification holds the whole group each time anything in it changes, and again every ``repeat_interval``. An alert is
the same one as long as its labels are, and that is what its ``fingerprint`` says.
"""

import hashlib
import json
from typing import Any

from trio_relay.connectors.delivery import (
    RESOLVED,
    TEXT,
    TITLE,
    WORD,
    Delivery,
    Understand,
    cut,
    key,
    link,
    part,
)
from trio_relay.core.wire_tasks import IntegrationEvent
from trio_relay.errors import Invalid


def alertmanager(*, target: str | None, channel: str | None) -> Understand:
    """Understand Alertmanager; everything goes to `target`."""

    def understand(delivery: Delivery) -> list[IntegrationEvent]:
        payload = part("the body", delivery.payload, dict)
        if payload.get("version") != "4":
            raise Invalid('version: expected "4", Alertmanager\'s webhook format', code="not_understood")
        alerts = part("alerts", payload.get("alerts"), list)
        return [_event(f"alerts[{i}]", alert, payload, target, channel) for i, alert in enumerate(alerts)]

    return understand


def _event(
    at: str, alert: Any, payload: dict[str, Any], target: str | None, channel: str | None
) -> IntegrationEvent:
    part(at, alert, dict)
    labels = _texts(f"{at}.labels", alert.get("labels"))
    notes = _texts(f"{at}.annotations", alert.get("annotations", {}))
    status = alert.get("status")
    if status not in ("firing", RESOLVED):
        raise Invalid(f"{at}.status: expected firing or resolved", code="not_understood")
    fingerprint = alert.get("fingerprint")
    if not isinstance(fingerprint, str) or not fingerprint:  # before Alertmanager 0.20
        fingerprint = hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:16]
    name = labels.get("alertname", "alert")
    text = [notes.get("description") or notes.get("message") or notes.get("summary") or name]
    if "runbook_url" in notes:
        text.append(f"Runbook: {notes['runbook_url']}")
    text.append("\n".join(f"{label}: {value}" for label, value in sorted(labels.items())))
    return IntegrationEvent(
        type="alert",
        severity=cut(labels.get("severity") or "warning", WORD),
        dedupe_key=key("alertmanager", fingerprint),
        title=cut(notes.get("summary") or name, TITLE),
        body=cut("\n\n".join(text), TEXT),
        target=target,
        channel=channel,
        external_url=link(alert.get("generatorURL")) or link(payload.get("externalURL")),
        metadata={"alertname": name, "receiver": payload.get("receiver"), "startsAt": alert.get("startsAt")},
        status=status,
    )


def _texts(at: str, value: Any) -> dict[str, str]:
    return {name: part(f"{at}.{name}", text, str) for name, text in part(at, value, dict).items()}
