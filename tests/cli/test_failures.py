"""What a command says when it cannot: one line, an exit code, no traceback."""

import click
import pytest
from click.testing import CliRunner, Result

from trio_relay import errors
from trio_relay.cli.shared.failures import Command, Failure


def end_with(error: BaseException) -> Result:
    @click.command(cls=Command)
    def fail() -> None:
        raise error

    return CliRunner().invoke(fail, prog_name="trio-relay")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Invalid("no"), 2),
        (errors.NotFound("no"), 3),
        (errors.Conflict("no"), 3),
        (errors.StaleInstance("no"), 3),
        (errors.LeaseLost("no"), 3),
        (errors.Refused("no"), 3),
        (errors.Unauthorized("no"), 3),
        (errors.StoreInUse("no"), 3),
        (errors.ConnectionLost("no"), 4),
        (errors.Unavailable("no"), 4),
        (errors.Refused("no", code="open_bind"), 2),
        (Failure("no", 5), 5),
        (OSError(28, "no"), 1),
    ],
)
def test_each_error_has_its_exit_code_and_one_line(error: Exception, code: int) -> None:
    result = end_with(error)
    assert (result.exit_code, result.stderr, result.stdout) == (code, "trio-relay: no\n", "")


def every_error() -> list[errors.RelayError]:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    ours = [kind for kind in kinds if issubclass(kind, errors.RelayError) and kind is not errors.RelayError]
    return [
        errors.RateLimited("x", retry_after=1) if kind is errors.RateLimited else kind("x") for kind in ours
    ]


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_no_error_of_ours_exits_as_if_this_machine_had_failed(error: errors.RelayError) -> None:
    assert end_with(error).exit_code in {2, 3, 4, 5}


def test_what_a_nursery_wraps_is_opened_and_said_once() -> None:
    lost = ExceptionGroup(
        "a", [errors.ConnectionLost("gone"), ExceptionGroup("b", [errors.ConnectionLost("gone")])]
    )
    result = end_with(lost)
    assert (result.exit_code, result.stderr) == (4, "trio-relay: gone\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), BaseExceptionGroup("nursery", [KeyboardInterrupt()])])
def test_ctrl_c_is_quiet(error: BaseException) -> None:
    result = end_with(error)
    assert (result.exit_code, result.output) == (130, "")


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), ExceptionGroup("x", [errors.Invalid("no"), ZeroDivisionError()])]
)
def test_a_bug_keeps_its_traceback(error: Exception) -> None:
    assert end_with(error).exception is error


def test_the_fields_at_fault_are_named_and_made_harmless() -> None:
    result = end_with(errors.Invalid("bad \x1b[31m", fields=(errors.FieldError("to", "expected a name"),)))
    assert result.stderr == "trio-relay: bad \\x1b[31m; to: expected a name\n"
