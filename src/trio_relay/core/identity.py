"""Who a session is: the agent id and the names it is made of.

An agent id is ``{host}-{rig}-{project}-{8 hex}``: readable in a list, the same each time the same thread is
resumed in the same place, and different for two threads of one project.
"""

import hashlib
import re

_LONGEST_PART = 48


def slug(text: str, fallback: str) -> str:
    """Lower-case letters, digits and single dashes; `fallback` when nothing is left."""
    cleaned = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return cleaned[:_LONGEST_PART].strip("-") or fallback


def short_hash(key: str) -> str:
    """Eight hex digits of a session or thread id.

    The digits of the key itself where it is a UUID, so that a person can match the two; the last ones, because
    Codex thread ids are version 7 and begin with the time: two threads of one minute share their first eight.
    """
    if re.fullmatch(r"[0-9a-fA-F-]{8,}", key):
        digits = key.replace("-", "").lower()
        if len(digits) >= 8:
            return digits[-8:]
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def agent_id(host: str, rig: str, project: str, key: str) -> str:
    """Make the id of the agent working in `project` on `host`; `key` is its thread id, or else its session id."""
    machine = slug(host.split(".", 1)[0], "host")
    return f"{machine}-{slug(rig, 'rig')}-{slug(project, 'project')}-{short_hash(key)}"
