"""Loaded by schemathesis (``SCHEMATHESIS_HOOKS``): valid requests name what is in the seeded room.

Made-up ids end in 404 before anything happens. What a request was going to say decides which of the seeded ids it
says instead, so that a run stays repeatable.
"""

from typing import Any

import schemathesis

AGENTS = ("worker", "writer")
#: Ids 1 to this exist of every kind of object that the seeding makes.
SEEDED = 6
_AGENT_FIELDS = frozenset({"agentId", "from", "readBy", "holder", "for", "agent"})
#: A made-up session, lease or parent would be refused before anything else is looked at.
_REFUSED_EARLY = frozenset({"instanceId", "epoch", "leaseToken", "token", "supersedes", "evidence"})


def seeded(name: str, value: Any) -> Any:
    """What a parameter or field says in the seeded room."""
    if name in _AGENT_FIELDS and isinstance(value, str):
        return AGENTS[len(value) % len(AGENTS)]
    if name == "to" and isinstance(value, str):
        return ("worker", "writer", "broadcast", "tag:none")[len(value) % 4]
    if name == "replyTo" and isinstance(value, int):
        return 1 + value % SEEDED
    return value


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    if not path_parameters:
        return path_parameters
    return {
        name: 1 + value % SEEDED if isinstance(value, int) else seeded(name, value)
        for name, value in path_parameters.items()
    }


@schemathesis.hook
def map_query(context: Any, query: Any) -> Any:
    return {name: seeded(name, value) for name, value in query.items()} if query else query


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    return {name: seeded(name, value) for name, value in body.items() if name not in _REFUSED_EARLY}
