"""What a Codex can do, by its version: one table, read when we connect.

Codex names its version in the ``userAgent`` of ``initialize``, and offers no list of what it can do. The table holds
what was tried with 0.130, 0.150 and 0.169; `tests/codex/test_app_server_versions.py` holds it to all three. A version in
between counts as the older one where a lack would cost a proof, and one that cannot be read counts as the newest.

What differs and needs no entry, because an answer tells it: the queue (0.130 has none), ``thread/items/list`` (0.130 has
none, 0.150 not for every thread). What differs and changes nothing here: a steer cuts a reply off (0.169) or waits for
its end; 0.130 calls a failed turn completed when it is asked about it later.
"""

import re
from dataclasses import dataclass

#: The oldest Codex this was tried with.
OLDEST = (0, 130)
_VERSION = re.compile(r"/(\d+)\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one app-server does.

    `echoes_client_ids`: a user message comes back with the id it was sent under. Without, the id stands in the text.
    `names_joined_turns`: a text that joins a running turn is answered with that turn's id, not with one that never runs.
    `tells_resumes`: every client hears of a thread that is resumed.
    `flags_bar_resume`: a remote TUI that was started with permissions refuses ``/resume``.
    """

    version: tuple[int, int] | None = None
    echoes_client_ids: bool = True
    names_joined_turns: bool = True
    tells_resumes: bool = True
    flags_bar_resume: bool = True


def capabilities_of(user_agent: str) -> Capabilities:
    """Read what a server can do out of what it calls itself: ``codex-tui/0.169.0 (…)``."""
    found = _VERSION.search(user_agent)
    if found is None:
        return Capabilities()
    version = (int(found[1]), int(found[2]))
    since_0_150 = version >= (0, 150)
    return Capabilities(
        version=version,
        echoes_client_ids=since_0_150,
        names_joined_turns=since_0_150,
        tells_resumes=since_0_150,
        flags_bar_resume=version > (0, 150),
    )
