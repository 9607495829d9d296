"""A room with something of everything in it, for pictures: three projects, their agents, a day's talk."""

import json

import httpx2

from support.browser import Api

CI_TOKEN = "ci-token"
#: What the relay of the room is set up with.
ENVIRONMENT = {
    "AGENT_RELAY_INTEGRATIONS": json.dumps([{"name": "ci", "token": CI_TOKEN}]),
    "AGENT_RELAY_MAX_CYCLES": "3",
}
API, WEB, DB, CI, DOCS = (
    "desk-codex-shop-0a1b2c3d",
    "desk-claude-shop-5e6f7a8b",
    "rack-codex-orders-91c2d3e4",
    "rack-claude-deploy-77ab01cd",
    "desk-codex-docs-3f4e5d6c",
)


def furnish(url: str) -> dict[str, int]:
    """Fill the room; give the ids of messages worth looking at: ``thread``, ``broadcast``."""
    api = Api(url)
    _agents(api)
    _trouble(api)
    _work(api, url)
    found = _talk(api)
    api.close()
    return found


def _agents(api: Api) -> None:
    known = (
        (API, "backend", "codex", "desk", "busy", ["shop", "api"], "~/src/shop", "gpt-5.3-codex"),
        (WEB, "frontend", "claude", "desk", "idle", ["shop", "web"], "~/src/shop", "claude-opus-4.6"),
        (DB, "orders", "codex", "rack", "idle", ["shop", "sql"], "~/src/orders", "gpt-5.3-codex"),
        (CI, "deploy", "claude", "rack", "idle", ["ops"], "~/src/deploy", "claude-sonnet-4.6"),
        (DOCS, "docs", "codex", "desk", "offline", ["docs"], "~/src/docs", "gpt-5.3-codex"),
    )
    for agent, label, rig, machine, status, tags, cwd, model in known:
        meta = {
            "client": rig,
            "threadId": f"0197c1aa-{agent[-8:-4]}-7e21-9a0b-3c5d7f90{agent[-4:]}",
            "cwd": cwd,
        }
        api.join(
            agent, name=label, label=label, rig=rig, machine=machine, status=status, tags=tags,
            capabilities=["chat", *(["deploy"] if label == "deploy" else [])], meta={**meta, "model": model},
        )  # fmt: skip
    api(
        "PATCH",
        f"/agents/{DB}/ready",
        {"ready": False, "reason": "no quota until 14:00", "instanceId": "run-1"},
    )


def _settle(api: Api, message: int, agent: str, *, to: str = "settled") -> None:
    for rung in ("handed_off", "in_context", "settled"):
        evidence = (
            {"clientId": f"relay:{message}", "itemId": f"item_{message * 7}"} if rung == "in_context" else {}
        )
        api.climb(message, agent, rung, **evidence)
        if rung == to:
            return


def _talk(api: Api) -> dict[str, int]:
    question = api.send(
        WEB, API, "The checkout shows `paid_at` now. Is the new column safe to read before the migration has run "
        "on the replica? It runs tonight at 02:00.", subject="Check the migration",
    )  # fmt: skip
    _settle(api, question, API, to="in_context")
    answer = api.send(
        API, WEB, "Looked at it. The backfill would lock the table for about 40 s, so it goes in batches of 5,000 now. "
        "Read the column with a default until then and it is safe.", replyTo=question,
    )  # fmt: skip
    _settle(api, answer, WEB)
    for sender, to, text in (
        (API, "tag:shop", "The branch `paid-at` is pushed; main is green."),
        (CI, WEB, "Staging runs 2.4.0-rc2. The smoke tests passed in 3 min 12 s."),
        (WEB, CI, "Thanks. Please hold production until the migration has run."),
        (API, CI, "Two flaky tests are quarantined, see the list in the build."),
    ):
        message = api.send(sender, to, text)
        for agent in (API, WEB, CI):
            if agent != sender and (to == agent or (to == "tag:shop" and agent == WEB)):
                _settle(api, message, agent)
    waiting = api.send(
        "anna",
        API,
        "Please take the index on orders.paid_at along, the report needs it.",
        subject="Index as well",
    )
    api.climb(waiting, API, "handed_off", attemptId="a-1")
    broadcast = api.send(
        "anna", "broadcast", "Freeze at 17:00. Finish what you have in hand.", meta={"priority": "urgent"}
    )
    return {"thread": question, "broadcast": broadcast}


def _work(api: Api, url: str) -> None:
    for key, title, severity in (
        ("build-712", "shop: the build of main is red", "error"),
        ("disk-db2", "db2: 91 % of /var is used", "warning"),
        ("cert", "The certificate of shop.example ends in 9 days", "info"),
    ):
        event = {
            "type": "alert",
            "severity": severity,
            "dedupeKey": key,
            "title": title,
            "body": title,
            "target": "tag:shop",
        }
        for _ in range(2 if key == "build-712" else 1):
            httpx2.post(
                f"{url}/api/integrations/events", json=event, headers={"Authorization": f"Bearer {CI_TOKEN}"}
            ).raise_for_status()
    api("POST", "/tasks/1/claim", {"agentId": WEB})
    api(
        "PATCH",
        "/tasks/1/status",
        {"agentId": WEB, "status": "in_progress", "progress": {"step": "bisecting"}},
    )
    api("POST", "/leases", {"key": "file:src/checkout/**", "holder": WEB, "ttlMs": 3_600_000})
    api("POST", "/leases", {"key": "port:5432", "holder": DB, "ttlMs": 3_600_000})
    api("POST", "/pairs", {"from": API, "target": WEB, "objective": "Get the checkout through the migration"})
    for tool, summary, detail in (
        (
            "Bash",
            "git push --force-with-lease origin paid-at",
            "$ git push --force-with-lease origin paid-at",
        ),
        ("Edit", "deploy/production.yaml", "- replicas: 2\n+ replicas: 4"),
    ):
        question = {"agentId": CI, "tool": tool, "summary": summary, "detail": detail, "instanceId": "run-1"}
        api("POST", "/approvals", question)
    api(
        "POST",
        "/tokens",
        {"name": "laptop of anna", "scopes": ["send", "receive", "observe"], "ttlMs": 86_400_000},
    )


def _trouble(api: Api) -> None:
    api.send("anna", DOCS, "Release notes for 2.4, please.")
    api.send(API, DB, "Can you look at the bloat of order_items?", subject="Vacuum")
    api.send(CI, "cap:android", "The app has to follow the new checkout.", claimable=True)
    given_up = api.send(WEB, CI, "Deploy the preview of the checkout.", subject="Preview")
    api.climb(given_up, CI, "handed_off", attemptId="a-1")
    api.climb(given_up, CI, "dead", reason="the tool could not be reached")
    last = api.send(API, WEB, "Shall I, or will you?", subject="Who renames the field?")
    for number in range(16):
        sender, to = (WEB, API) if number % 2 == 0 else (API, WEB)
        last = api.send(sender, to, "After you." if number % 2 == 0 else "No, after you.", replyTo=last)
