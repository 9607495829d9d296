"""What we believe of a Codex app-server, as checks that run on the fake and on the real one alike.

Each check is an async function of a `Rig`; `CHECKS` lists them all. A belief the fake holds and the real one does not
makes a check fail there, so the fake cannot drift away from Codex unnoticed.
"""

from support.app_server_rig import Check, Rig
from support.check_codex_queue import QUEUE_CHECKS
from support.check_codex_threads import THREAD_CHECKS, a_server_with_a_token_takes_no_other
from support.check_codex_turns import TURN_CHECKS

__all__ = ["CHECKS", "Check", "Rig", "a_server_with_a_token_takes_no_other"]

CHECKS: list[Check] = [*TURN_CHECKS, *THREAD_CHECKS, *QUEUE_CHECKS]
