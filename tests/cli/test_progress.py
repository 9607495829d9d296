"""Progress is silent at first, then one line on a terminal, or a line now and then in a log."""

import io
import sys
import time

import pytest

from trio_relay.cli.shared import progress
from trio_relay.cli.shared.progress import Progress, patience


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def watch(monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO) -> str:
    """Half a minute of work, told every tenth of a second."""
    now = 100.0
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Progress("copying") as show:
        for step in range(300):
            now = 100.0 + step / 10
            show(step * 1_000_000, 300_000_000)
    return stderr.getvalue()


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watch(monkeypatch, io.StringIO()).splitlines() == [
        "copying: 3 % (10 of 300 MB)",
        "copying: 36 % (110 of 300 MB)",
        "copying: 70 % (210 of 300 MB)",
    ]


def test_a_terminal_gets_one_line_that_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = watch(monkeypatch, Terminal()).split("\r")
    assert shown[1] == "copying: 3 % (10 of 300 MB)"
    assert len(shown) > 100
    assert shown[-2:] == [" " * len("copying: 99 % (298 of 300 MB)"), ""]


def test_what_is_quick_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    with Progress("copying") as show:
        show(1, 2)
    assert stderr.getvalue() == ""


def test_who_waits_for_longer_is_told_what_for_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(progress, "_FIRST", 0.0)
    with patience("Waiting ..."):
        while "Waiting ..." not in stderr.getvalue():
            time.sleep(0.001)
    assert stderr.getvalue() == "Waiting ...\r           \r"


def test_a_short_wait_is_not_worth_a_word_and_a_log_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for stderr in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stderr)
        with patience("Waiting ..."):
            pass
        assert stderr.getvalue() == ""
