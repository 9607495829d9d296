"""GitHub's webhooks for issues and pull requests, as repositories, organisations and apps send them.

What is opened is work, what is closed is over. Labels may say which: then work begins when one of them is put on, and
ends when the last of them is taken off. GitHub does not repeat a delivery that failed.
"""

from collections.abc import Collection
from typing import Any

from trio_relay.connectors.delivery import RESOLVED, TEXT, TITLE, Delivery, Understand, cut, key, link, part
from trio_relay.core.wire_tasks import IntegrationEvent
from trio_relay.errors import Invalid

#: ``X-GitHub-Event`` → where the thing stands in the payload.
_THINGS = {"issues": "issue", "pull_request": "pull_request"}
_BEGINS = {"opened", "reopened", "ready_for_review", "labeled"}
#: ``transferred`` is said of the issue that was left behind; the other repository says ``opened`` of the new one.
_ENDS = {"closed", "deleted", "transferred", "unlabeled", "converted_to_draft"}


def github(*, target: str | None, channel: str | None, labels: Collection[str] = ()) -> Understand:
    """Understand GitHub; with `labels`, only issues and pull requests that bear one of them."""

    def understand(delivery: Delivery) -> list[IntegrationEvent]:
        kind = delivery.headers.get("x-github-event")
        if kind is None:
            raise Invalid("the header X-GitHub-Event is missing", code="not_understood")
        if kind not in _THINGS:
            return []
        payload = part("the body", delivery.payload, dict)
        thing = part(_THINGS[kind], payload.get(_THINGS[kind]), dict)
        action = part("action", payload.get("action"), str)
        if labels and action in {"labeled", "unlabeled"} and _name(payload.get("label")) not in labels:
            return []  # of the labels that say what is work none has changed
        status = _status(action, thing, labels)
        if status is None:
            return []
        repository = part("repository", payload.get("repository"), dict)
        where = part("repository.full_name", repository.get("full_name"), str)
        number = part(f"{_THINGS[kind]}.number", thing.get("number"), int)
        title = part(f"{_THINGS[kind]}.title", thing.get("title"), str)
        return [
            IntegrationEvent(
                type="issue" if kind == "issues" else "pull_request",
                dedupe_key=key("github", where.lower(), str(number)),
                title=cut(f"{where}#{number}: {title}", TITLE),
                body=cut(thing.get("body") or title, TEXT),
                target=target,
                channel=channel,
                external_url=link(thing.get("html_url")),
                metadata={
                    "repository": where,
                    "number": number,
                    "action": action,
                    "author": _login(thing.get("user")),
                    "labels": sorted(_labels(thing)),
                    "delivery": delivery.headers.get("x-github-delivery"),
                },
                status=status,
            )
        ]

    return understand


def _status(action: str, thing: dict[str, Any], labels: Collection[str]) -> str | None:
    """What a change means: ``open``, ``resolved``, or None for what begins and ends nothing."""
    bears_one = not labels or not _labels(thing).isdisjoint(labels)
    if action in _ENDS:
        if action == "unlabeled":
            return RESOLVED if labels and not bears_one else None
        return RESOLVED if bears_one else None
    if action not in _BEGINS or not bears_one or thing.get("draft") is True:
        return None
    if action == "labeled" and (not labels or thing.get("state") != "open"):
        return None
    return "open"


def _labels(thing: dict[str, Any]) -> set[str]:
    found = thing.get("labels") or []
    return {name for name in map(_name, found) if name is not None}


def _name(label: Any) -> str | None:
    name = label.get("name") if isinstance(label, dict) else None
    return name if isinstance(name, str) else None


def _login(user: Any) -> str | None:
    login = user.get("login") if isinstance(user, dict) else None
    return login if isinstance(login, str) else None
