"""The pages there are, as the navigation shows them."""

from dataclasses import dataclass

from trio_relay.core.access import Scope


@dataclass(frozen=True, slots=True)
class Entry:
    """One page: its key (`here` of the page), what it is called, where it is.

    Who lacks `scope` does not see it. `count` names a number of `board.counts` to show beside it; `urgent`: one that waits for a person.
    """

    key: str
    label: str
    path: str
    count: str | None = None
    urgent: bool = False
    scope: Scope | None = None


NAVIGATION: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    (
        "Room",
        (
            Entry("home", "Overview", "/"),
            Entry("agents", "Agents", "/agents"),
            Entry("messages", "Messages", "/messages"),
            Entry("inbox", "Your inbox", "/inbox", count="inbox", urgent=True),
        ),
    ),
    (
        "Waits for you",
        (
            Entry("approvals", "Approvals", "/approvals", count="approvals", urgent=True),
            Entry("parked", "Parked threads", "/parked", count="threads", urgent=True),
            Entry("dead", "Dead letters", "/dead", count="dead"),
        ),
    ),
    (
        "Work",
        (
            Entry("tasks", "Tasks", "/tasks"),
            Entry("pairs", "Pairs", "/pairs"),
            Entry("leases", "Leases", "/leases"),
        ),
    ),
    (
        "Relay",
        (
            Entry("map", "Map", "/map"),
            Entry("plots", "Throughput", "/plots"),
            Entry("tokens", "Tokens", "/tokens", scope=Scope.ADMIN),
        ),
    ),
)
