"""What the relay counts for ``/metrics``, in Prometheus' words.

Counters are added to in memory after a commit (`Tx.tally`), gauges are read when somebody asks. No label is an agent,
a message or anything else without bound: routes are templates, kinds and states are ours.
"""

from collections.abc import Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from trio_relay.core.model import Rung
from trio_relay.relay.operations.measure import COUNT_LIMIT, Depths
from trio_relay.relay.series import Series

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Event kind → (what the lease guards, what became of it).
_LEASE_OUTCOMES = {
    "message.claimed": ("message", "granted"),
    "message.completed": ("message", "completed"),
    "message.claim_released": ("message", "reopened"),
    "message.dead": ("message", "dead"),
    "lease.acquired": ("resource", "granted"),
    "lease.released": ("resource", "released"),
    "lease.completed": ("resource", "completed"),
    "lease.expired": ("resource", "expired"),
}
_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
#: Seconds from a message's acceptance to a rung: a session may be asleep for hours.
_DELIVERY = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 14_400.0)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class RelayMetrics:
    """The metrics of one relay process, in a registry of their own; and the same by the minute, in `series`."""

    def __init__(self, series: Series) -> None:
        self.series = series
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._events = Counter("trio_relay_events", "Events written.", ["type"], registry=registry)
        self._sends = Counter(
            "trio_relay_sends",
            "Recipients of accepted messages by verdict; parked and held count the message once.",
            ["verdict"],
            registry=registry,
        )
        self._rungs = Counter(
            "trio_relay_ladder_rungs", "Rungs of the delivery ladder reached.", ["state"], registry=registry
        )
        self._took = Histogram(
            "trio_relay_delivery_seconds",
            "Time from a message's acceptance to a rung of one of its deliveries.",
            ["state"],
            buckets=_DELIVERY,
            registry=registry,
        )
        self._leases = Counter(
            "trio_relay_lease_outcomes", "What became of leases.", ["guards", "outcome"], registry=registry
        )
        self._requests = Histogram(
            "trio_relay_request_seconds",
            "Time from a request's head to its answer; long polls apart, as route ...?wait.",
            ["method", "route", "status"],
            buckets=_LATENCY,
            registry=registry,
        )
        self._batches = Histogram(
            "trio_relay_store_batch_operations",
            "Operations that shared one commit.",
            buckets=_BATCH,
            registry=registry,
        )
        self._commits = Histogram(
            "trio_relay_store_commit_seconds",
            "Time to run a batch of operations and make it durable.",
            buckets=_LATENCY,
            registry=registry,
        )
        self._agents = Gauge("trio_relay_agents", "Agents by status.", ["status"], registry=registry)
        self._unread = Gauge(
            "trio_relay_unread_deliveries",
            f"Deliveries neither read nor ended; counted up to {COUNT_LIMIT}.",
            registry=registry,
        )
        self._parked = Gauge(
            "trio_relay_parked_messages",
            f"Messages nobody has matched yet; counted up to {COUNT_LIMIT}.",
            registry=registry,
        )
        self._approvals = Gauge(
            "trio_relay_pending_approvals",
            f"Questions of agents that wait for a person; counted up to {COUNT_LIMIT}.",
            registry=registry,
        )
        self._log = Gauge("trio_relay_event_log_size", "Events the log holds, about.", registry=registry)
        self._polls = Gauge(
            "trio_relay_open_polls",
            "Long polls that wait now, of inboxes and of approvals.",
            registry=registry,
        )
        self._streams = Gauge("trio_relay_event_streams", "Open event streams.", registry=registry)
        self._linked = Gauge(
            "trio_relay_linked",
            "1: this node hears at once of what happens on others; always 1 without others.",
            registry=registry,
        )
        self._leading = Gauge(
            "trio_relay_leading", "1: this node keeps house and sends the callbacks.", registry=registry
        )
        self._ended = Counter(
            "trio_relay_event_streams_ended",
            "Event streams that ended, by why.",
            ["reason"],
            registry=registry,
        )

    def add(self, tally: Mapping[tuple[str, str], int], took: Iterable[tuple[Rung, int]] = ()) -> None:
        """Add what a transaction did, now that it is durable; `took`: ms from acceptance to a rung."""
        self.series.add(tally, took)
        for rung, ms in took:
            self._took.labels(rung).observe(ms / 1000)
        for (family, label), count in tally.items():
            match family:
                case "event":
                    self._events.labels(label).inc(count)
                    if label in _LEASE_OUTCOMES:
                        self._leases.labels(*_LEASE_OUTCOMES[label]).inc(count)
                case "rung":
                    self._rungs.labels(label).inc(count)
                case "send":
                    self._sends.labels(label).inc(count)
                case _:
                    raise ValueError(f"nothing counts {family!r}")

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered; `route` is its template, with ``?wait`` behind it if it might wait."""
        if not route.endswith("?wait"):
            self.series.answered(seconds)
        self._requests.labels(method, route, f"{status // 100}xx").observe(seconds)

    def committed(self, operations: int, seconds: float) -> None:
        """The store committed a batch."""
        self._batches.observe(operations)
        self._commits.observe(seconds)

    def stream_ended(self, reason: str) -> None:
        """An event stream has ended."""
        self._ended.labels(reason).inc()

    def render(self, depths: Depths, *, polls: int, streams: int, linked: bool, leading: bool) -> bytes:
        """Everything, in the text format: the counters, and these gauges of the moment."""
        self._agents.clear()
        for status, count in depths.agents.items():
            self._agents.labels(status).set(count)
        self._unread.set(depths.unread)
        self._parked.set(depths.parked)
        self._approvals.set(depths.approvals)
        self._log.set(depths.events)
        self._polls.set(polls)
        self._streams.set(streams)
        self._linked.set(linked)
        self._leading.set(leading)
        return generate_latest(self._registry)
