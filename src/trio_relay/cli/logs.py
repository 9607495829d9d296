"""Where log lines go: stderr or a file, coloured for a person, one ``key=value`` line each for a file or a collector."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from trio_relay.cli.terminal import printable


def log_to_stderr(*, only_warnings: bool = False) -> None:
    """Set up structlog for this process."""
    log_to_file(sys.stderr, only_warnings=only_warnings)


def log_to_file(file: TextIO, *, only_warnings: bool = False) -> None:
    """Set up structlog for this process, writing to an open file.

    Agent ids and the like come from outside, so values are made harmless. Tracebacks are plain ones: the rich kind
    prints local variables, and those hold message bodies and tokens.
    """
    colours = file.isatty()
    renderer: Any
    if colours:
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        timestamps = structlog.processors.TimeStamper("%H:%M:%S", utc=False)
        traceback: list[Any] = []
    else:
        renderer = structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
        timestamps = structlog.processors.TimeStamper("iso", utc=True)
        traceback = [structlog.processors.format_exc_info]
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.WARNING if only_warnings else logging.INFO
        ),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            timestamps,
            _harmless,
            *traceback,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(file),
    )


def _harmless(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = printable(value)
    return event
