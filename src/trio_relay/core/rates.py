"""A limit on how often something may happen: at most so many times in any span of a given length."""

from collections import deque


class SlidingWindow:
    """At most `limit` events in any `span` seconds. The clock is the caller's."""

    def __init__(self, limit: int, span: float) -> None:
        self._limit = limit
        self._span = span
        self._times: deque[float] = deque()

    def take(self, now: float) -> float:
        """Count an event at `now` and answer 0, or answer the seconds after which one will be allowed again."""
        while self._times and self._times[0] <= now - self._span:
            self._times.popleft()
        if len(self._times) >= self._limit:
            return self._times[0] + self._span - now
        self._times.append(now)
        return 0.0
