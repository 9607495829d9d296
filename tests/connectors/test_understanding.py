"""What deliveries in the formats of their senders mean."""

import copy
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from trio_relay.connectors.alertmanager import alertmanager
from trio_relay.connectors.delivery import Delivery, bearer, signature
from trio_relay.connectors.github import github
from trio_relay.connectors.rules import by_rules, read_rules
from trio_relay.core.wire_tasks import IntegrationEvent
from trio_relay.errors import Invalid, Unauthorized

PAYLOADS = Path(__file__).parent / "payloads"


def payload(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_text())


def alerts(said: Any) -> list[IntegrationEvent]:
    return alertmanager(target="tag:ops", channel="alerts")(Delivery({}, said))


class TestAlertmanager:
    def test_each_alert_is_an_event(self) -> None:
        first, second = alerts(payload("alertmanager"))
        assert first.title == "Disk of db1 is almost full"
        assert first.body.startswith("/var on db1 has 3 % left")
        assert "Runbook: https://wiki.example/disk" in first.body
        assert "instance: db1:9100" in first.body
        assert (first.type, first.severity, first.status) == ("alert", "critical", "firing")
        assert (first.target, first.channel) == ("tag:ops", "alerts")
        assert first.dedupe_key == "alertmanager:5ef77f1f8a3ecc8d"
        assert first.external_url is not None
        assert first.external_url.startswith("http://prometheus.example:9090/graph?")
        assert (second.status, second.dedupe_key) == ("resolved", "alertmanager:b3bd5e8a9f6f4f2a")

    def test_without_a_fingerprint_the_labels_tell_alerts_apart(self) -> None:
        said = payload("alertmanager")
        for alert in said["alerts"]:
            del alert["fingerprint"]
        again = copy.deepcopy(said)
        again["alerts"][0]["labels"] = dict(reversed(again["alerts"][0]["labels"].items()))
        keys = [[event.dedupe_key for event in alerts(one)] for one in (said, again)]
        assert keys[0] == keys[1]
        assert len(set(keys[0])) == 2

    @pytest.mark.parametrize(
        ("change", "names"),
        [
            ({"version": "3"}, "version"),
            ({"alerts": None}, "alerts"),
            ({"alerts": [[]]}, r"alerts\[0\]"),
            ({"alerts": [{"labels": {}, "status": "odd"}]}, r"alerts\[0\].status"),
            ({"alerts": [{"labels": {"a": 1}, "status": "firing"}]}, r"alerts\[0\].labels.a"),
        ],
    )
    def test_what_is_no_alert_is_told(self, change: dict[str, Any], names: str) -> None:
        with pytest.raises(Invalid, match=names):
            alerts(payload("alertmanager") | change)


def github_says(
    said: Any, kind: str = "issues", labels: tuple[str, ...] = ()
) -> list[tuple[str | None, str | None]]:
    understand = github(target="tag:backend", channel=None, labels=labels)
    events = understand(Delivery({"x-github-event": kind, "x-github-delivery": "72d3162e"}, said))
    return [(event.status, event.dedupe_key) for event in events]


class TestGitHub:
    def test_an_issue_is_work_until_it_is_closed(self) -> None:
        said = payload("github-issues-opened")
        understand = github(target="tag:backend", channel=None)
        (event,) = understand(Delivery({"x-github-event": "issues", "x-github-delivery": "72d3"}, said))
        assert event.title == "Shop/Backend#41: Orders with a discount are rounded twice"
        assert event.body == "An order of 9.99 with 10 % off comes to 8.98."
        assert event.external_url == "https://github.com/Shop/Backend/issues/41"
        assert (event.type, event.status, event.dedupe_key) == ("issue", "open", "github:shop/backend:41")
        assert event.metadata["labels"] == ["agent", "bug"]
        assert event.metadata["delivery"] == "72d3"
        assert github_says(said | {"action": "closed"}) == [("resolved", "github:shop/backend:41")]

    def test_a_merged_pull_request_is_over(self) -> None:
        said = payload("github-pull-request-closed")
        assert github_says(said, "pull_request") == [("resolved", "github:shop/backend:42")]

    @pytest.mark.parametrize("kind", ["ping", "push", "issue_comment"])
    def test_other_events_mean_nothing(self, kind: str) -> None:
        assert github_says({"zen": "Keep it logically awesome."}, kind) == []

    @pytest.mark.parametrize(
        ("action", "on_it", "state", "expected"),
        [
            ("opened", ["agent"], "open", "open"),
            ("opened", ["bug"], "open", None),
            ("labeled", ["agent", "bug"], "open", "open"),
            ("labeled", ["agent"], "closed", None),
            ("unlabeled", ["bug"], "open", "resolved"),
            ("unlabeled", ["agent"], "open", None),
            ("closed", ["agent"], "closed", "resolved"),
            ("closed", ["bug"], "closed", None),
            ("assigned", ["agent"], "open", None),
        ],
    )
    def test_labels_say_what_is_work(
        self, action: str, on_it: list[str], state: str, expected: str | None
    ) -> None:
        said = payload("github-issues-opened") | {"action": action, "label": {"name": "agent"}}
        said["issue"] |= {"labels": [{"name": name} for name in on_it], "state": state}
        assert [status for status, _ in github_says(said, labels=("agent",))] == (
            [expected] if expected else []
        )

    @pytest.mark.parametrize("on_it", [["agent"], ["bug"]])
    @pytest.mark.parametrize("action", ["labeled", "unlabeled"])
    def test_another_label_neither_begins_nor_ends_work(self, action: str, on_it: list[str]) -> None:
        said = payload("github-issues-opened") | {"action": action, "label": {"name": "triaged"}}
        said["issue"] |= {"labels": [{"name": name} for name in on_it], "state": "open"}
        assert github_says(said, labels=("agent",)) == []

    def test_an_issue_that_went_to_another_repository_is_over_here(self) -> None:
        said = payload("github-issues-opened") | {"action": "transferred"}
        assert github_says(said) == [("resolved", "github:shop/backend:41")]

    def test_a_draft_is_no_work_yet(self) -> None:
        said = payload("github-pull-request-closed") | {"action": "opened"}
        said["pull_request"] |= {"draft": True, "state": "open"}
        assert github_says(said, "pull_request") == []
        said["pull_request"]["draft"] = False
        assert github_says(said | {"action": "ready_for_review"}, "pull_request")[0][0] == "open"

    @pytest.mark.parametrize("missing", ["issue", "action", "repository"])
    def test_what_is_missing_is_named(self, missing: str) -> None:
        said = payload("github-issues-opened")
        del said[missing]
        with pytest.raises(Invalid, match=missing):
            github_says(said)


ROOT = Path(__file__).parents[2]
RULES = (ROOT / "scripts/connectors/webhook-rules.json").read_text()


class TestRules:
    def understood(self, said: Any, **headers: str) -> list[IntegrationEvent]:
        return by_rules(read_rules(RULES), target="tag:all", channel=None)(Delivery(headers, said))

    def test_each_thing_of_a_list_is_an_event(self) -> None:
        first, second = self.understood(payload("orders"), **{"x-shop-stage": "production"})
        assert first.title == "Order 1007 of Ada is stuck"
        assert first.body == "Since 2026-11-20T08:00:00Z. {Do not} refund."
        assert (first.dedupe_key, first.target) == ("order:north:1007", "tag:north")
        assert first.metadata == {"id": 1007, "customer": {"name": "Ada"}, "from": "production"}
        assert first.external_url == "https://shop.example/orders/1007"
        assert (second.dedupe_key, second.external_url) == ("order:north:1011", None)

    def test_the_rule_that_fits_counts_and_none_means_nothing(self) -> None:
        assert self.understood(payload("orders"), **{"x-shop-stage": "test"}) == []
        (over,) = self.understood({"kind": "orders.sent", "shop": "north", "id": 1007})
        assert (over.status, over.dedupe_key, over.target) == ("resolved", "order:north:1007", "tag:all")

    def test_a_key_with_something_missing_is_refused(self) -> None:
        with pytest.raises(Invalid, match=r"rules\[1\].event.dedupeKey: there is nothing at /id"):
            self.understood({"kind": "orders.sent", "shop": "north"})

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("{", "the rules"),
            ('{"rules": []}', "rules: expected at least one"),
            ('{"rules": [{"event": {"dedupeKey": "x"}}]}', r"rules\[0\].event.title"),
            ('{"rules": [{"event": {"title": "x"}}]}', r"rules\[0\].event.dedupeKey"),
            ('{"rules": [{"event": {"title": "x", "dedupeKey": "{id}"}}]}', "expected a JSON Pointer"),
            ('{"rules": [{"event": {"title": "x {", "dedupeKey": "x"}}]}', r"rules\[0\].event.title"),
            ('{"rules": [{"event": {"title": 1, "dedupeKey": "x"}}]}', "expected a text"),
            ('{"rules": [{"event": {"title": "x", "dedupeKey": "x", "metadata": 1}}]}', "expected an object"),
            (
                '{"rules": [{"when": {"a": 1}, "event": {"title": "x", "dedupeKey": "x"}}]}',
                r"rules\[0\].when",
            ),
            ('{"rules": [{"evnt": {}}]}', "evnt|event"),
            ('{"rules": [{"event": {"colour": "red", "dedupeKey": "x", "title": "x"}}]}', "event.colour"),
        ],
    )
    def test_a_mistake_is_named(self, text: str, says: str) -> None:
        with pytest.raises(Invalid, match=says):
            read_rules(text)


class TestProof:
    def test_what_is_signed_is_taken_and_nothing_else(self) -> None:
        check = signature("It's a Secret to Everybody", header="X-Hub-Signature-256", prefix="sha256=")
        # GitHub's own example of a signature.
        good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        check({"x-hub-signature-256": good}, b"Hello, World!")
        for headers, body in (
            ({}, b"Hello, World!"),
            ({"x-hub-signature-256": good}, b"Hello, World."),
            ({"x-hub-signature-256": good.removeprefix("sha256=")}, b"Hello, World!"),
            ({"x-hub-signature-256": "sha256=\xff"}, b"Hello, World!"),
        ):
            with pytest.raises(Unauthorized):
                check(headers, body)

    def test_the_file_of_rules_says_how(self) -> None:
        check = read_rules(RULES).check("s3cret")
        assert check is not None
        digest = hmac.new(b"s3cret", b"{}", hashlib.sha256).hexdigest()
        check({"x-shop-signature": f"sha256={digest}"}, b"{}")
        with pytest.raises(Unauthorized):
            check({"x-shop-signature": digest}, b"{}")

    def test_a_bearer_is_compared_whole(self) -> None:
        check = bearer("s3cret")
        check({"authorization": "Bearer s3cret"}, b"")
        for given in ({}, {"authorization": "Bearer s3cre"}, {"authorization": "Basic s3cret"}):
            with pytest.raises(Unauthorized):
                check(given, b"")
