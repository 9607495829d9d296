"""Tasks: work an integration asks for, and which status may follow which.

```
open ⇄ claimed → in_progress ⇄ blocked
  └───────┴────────────┴──────────┴──→ done | failed | canceled
```

A task is guarded by the lease of its message, so `claimed` is entered by claiming and `open` by giving the lease back
(or losing it), from any status its holder may have reported. The last three are final. Repeating the present status is
always allowed: it may carry newer progress, and a caller that timed out may ask again.
"""

from enum import StrEnum


class TaskStatus(StrEnum):
    """Where a task stands."""

    OPEN = "open"
    CLAIMED = "claimed"
    IN_PROGRESS = "in_progress"
    BLOCKED = "blocked"
    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"


ENDED = frozenset({TaskStatus.DONE, TaskStatus.FAILED, TaskStatus.CANCELED})
ACTIVE = frozenset(TaskStatus) - ENDED
#: Statuses in which somebody holds the task's lease.
HELD = frozenset({TaskStatus.CLAIMED, TaskStatus.IN_PROGRESS, TaskStatus.BLOCKED})

_NEXT: dict[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.OPEN: ENDED | {TaskStatus.CLAIMED},
    TaskStatus.CLAIMED: ENDED | {TaskStatus.OPEN, TaskStatus.IN_PROGRESS, TaskStatus.BLOCKED},
    TaskStatus.IN_PROGRESS: ENDED | {TaskStatus.OPEN, TaskStatus.BLOCKED},
    TaskStatus.BLOCKED: ENDED | {TaskStatus.OPEN, TaskStatus.IN_PROGRESS},
    TaskStatus.DONE: frozenset(),
    TaskStatus.FAILED: frozenset(),
    TaskStatus.CANCELED: frozenset(),
}


def may_follow(current: TaskStatus, wanted: TaskStatus) -> bool:
    """Whether a task that stands on `current` may be put on `wanted`."""
    return wanted is current or wanted in _NEXT[current]
