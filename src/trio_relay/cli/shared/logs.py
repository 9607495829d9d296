"""Where log lines go, and how they look: for a person, for a file that is searched, for a collector.

==========  ====================================================================
console     columns, coloured on a terminal
logfmt      ``key=value``, the time in UTC
json        one object a line, the time in UTC
==========  ====================================================================

Without a word, a terminal gets ``console`` and everything else ``logfmt``.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from trio_relay.cli.shared.terminal import printable

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def log_to_stderr(*, only_warnings: bool = False, style: str | None = None, level: str = "info") -> None:
    """Set up structlog for this process. `style` is one of the formats, `level` the least that is written."""
    log_to_file(sys.stderr, only_warnings=only_warnings, style=style, level=level)


def log_to_file(
    file: TextIO, *, only_warnings: bool = False, style: str | None = None, level: str = "info"
) -> None:
    """Set up structlog for this process, writing to an open file.

    Agent ids and the like come from outside, so values are made harmless. Tracebacks are plain ones: the rich kind
    prints local variables, and those hold message bodies and tokens.
    """
    style = style or ("console" if file.isatty() else "logfmt")
    least = logging.WARNING if only_warnings else LEVELS[level]
    if style == "console":
        timestamps = structlog.processors.TimeStamper("%H:%M:%S", utc=False)
        plain = structlog.dev.plain_traceback
        rendered: list[Any] = [structlog.dev.ConsoleRenderer(colors=file.isatty(), exception_formatter=plain)]
    else:
        timestamps = structlog.processors.TimeStamper("iso", utc=True)
        renderer: Any = structlog.processors.JSONRenderer(ensure_ascii=False)
        if style == "logfmt":
            renderer = structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
        rendered = [structlog.processors.format_exc_info, renderer]
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(least),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            timestamps,
            _harmless,
            *rendered,
        ],
        logger_factory=structlog.PrintLoggerFactory(file),
    )
    _pass_on()


class _PassOn(logging.Handler):
    """Have what libraries log in our name written as our own lines are."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write it."""
        structlog.get_logger(record.name).log(
            record.levelno, record.getMessage(), exc_info=record.exc_info or None
        )


def _pass_on() -> None:
    ours = logging.getLogger("trio_relay")
    if not any(isinstance(each, _PassOn) for each in ours.handlers):
        ours.addHandler(_PassOn())
    ours.propagate = False


def _harmless(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = printable(value)
    return event
