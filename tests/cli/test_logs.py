"""Log lines for a person, for a file that is searched, for a collector."""

import io
import json
import logging

import pytest
import structlog

from trio_relay.cli.shared.logs import log_to_file

HOSTILE = "ann\x1b[2J\nlevel=error"


def written(style: str | None, level: str = "info") -> list[str]:
    file = io.StringIO()
    log_to_file(file, style=style, level=level)
    log = structlog.get_logger("trio_relay.test")
    log.debug("looked")
    log.info("serving", agent=HOSTILE, urls=["http://127.0.0.1:1"])
    log.error("broken", code=7)
    logging.getLogger("trio_relay.http").warning("from the %s", "server")
    return file.getvalue().splitlines()


def test_json_is_an_object_a_line() -> None:
    serving, broken, server = (json.loads(line) for line in written("json"))
    assert (serving["event"], serving["level"], serving["urls"]) == (
        "serving",
        "info",
        ["http://127.0.0.1:1"],
    )
    assert serving["agent"] == r"ann\x1b[2J\nlevel=error"
    assert (broken["event"], broken["code"]) == ("broken", 7)
    assert (server["event"], server["level"]) == ("from the server", "warning")
    assert serving["timestamp"].endswith("Z")


@pytest.mark.parametrize("style", [None, "logfmt"])
def test_logfmt_is_what_a_file_gets(style: str | None) -> None:
    serving, broken, _ = written(style)
    assert 'level=info event=serving agent="ann\\\\x1b[2J\\\\nlevel=error"' in serving
    assert broken.endswith("level=error event=broken code=7")


def test_for_a_person_there_are_columns_without_colours_where_no_terminal_is() -> None:
    serving, _, _ = written("console")
    assert "[info     ] serving" in serving
    assert "\x1b" not in serving


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_is_the_least_that_is_written(level: str, count: int) -> None:
    assert len(written("json", level)) == count


def fail(body: str) -> None:
    """Fail with a body at hand."""
    if body:
        raise RuntimeError("boom")


@pytest.mark.parametrize("style", ["console", "logfmt", "json"])
def test_a_traceback_shows_no_variables(style: str) -> None:
    file = io.StringIO()
    log_to_file(file, style=style)
    secret = "s3cret" * 2
    try:
        fail(secret)
    except RuntimeError:
        structlog.get_logger().exception("a bug")
    assert "RuntimeError: boom" in file.getvalue()
    assert secret not in file.getvalue()
