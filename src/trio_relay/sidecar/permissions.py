"""The permissions a session was started with, kept in the threads its person opens next.

A TUI on a remote server that was started with permissions refuses ``/resume`` (Codex 0.169: "Permission overrides are
not supported when resuming a remote task."), so `codex-relay` leaves them out where the TUI's first thread has them all
the same: the approval policy from the app-server's configuration, the sandbox from its own. The next threads lack the
policy and get it from here, as ``thread/settings/update``.

A person's own choice is never overruled: where the thread they come from had other permissions, by ``/permissions`` or
because they resumed it, the new one stays as the TUI made it.
"""

from collections.abc import Mapping
from typing import Any

from trio_relay.codex.app_server import SANDBOXES, Attached
from trio_relay.codex.protocol import Notification


class SessionPermissions:
    """What `approval_policy` and `sandbox`, the session's own, mean for the thread the agent is in."""

    def __init__(self, approval_policy: str | None, sandbox: str | None) -> None:
        self._wished = (approval_policy, SANDBOXES.get(sandbox or ""))
        self._ours: Mapping[str, Any] | None = None

    def entered(self, attached: Attached, *, new: bool) -> Mapping[str, Any] | None:
        """Note which permissions a thread has; those it is to be given instead, if it is `new` and lacks them."""
        theirs = attached.permissions
        if self._fit(theirs):
            self._ours = theirs
        elif new and self._ours is not None:
            return self._ours
        else:
            self._ours = None
        return None

    def told(self, notification: Notification) -> None:
        """Note a change in the thread the agent is in."""
        if notification.method != "thread/settings/updated":
            return
        settings = notification.params.get("threadSettings")
        if isinstance(settings, dict):
            theirs = {
                "approvalPolicy": settings.get("approvalPolicy"),
                "sandbox": settings.get("sandboxPolicy"),
            }
            self._ours = theirs if self._fit(theirs) else None

    def _fit(self, theirs: Mapping[str, Any]) -> bool:
        sandbox = theirs.get("sandbox")
        kind = sandbox.get("type") if isinstance(sandbox, dict) else None
        return None not in self._wished and (theirs.get("approvalPolicy"), kind) == self._wished
