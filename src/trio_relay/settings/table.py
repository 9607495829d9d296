"""One row a setting, how its text is parsed, and how the environment is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. `older` are spellings read when the newer one is unset."""

    env: str
    field: str
    default: Any
    parse: Callable[[str], Any]
    help: str
    older: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Warned:
    """A value that could not be used: which variable, and what is used instead. Never the value of a secret."""

    env: str
    message: str


def milliseconds(text: str) -> float:
    """Seconds from a positive finite number of milliseconds."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError("a positive number of milliseconds")
    return value / 1000


def positive_int(text: str) -> int:
    """Parse a positive integer."""
    value = int(text)
    if value <= 0:
        raise ValueError("a positive whole number")
    return value


def port(text: str) -> int:
    """Parse a TCP port; 0 lets the system choose."""
    value = int(text)
    if not 0 <= value <= 65535:
        raise ValueError("a port from 0 to 65535")
    return value


def flag(text: str) -> bool:
    """Parse 1/0, true/false, yes/no, on/off."""
    lowered = text.strip().lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError("1 or 0")


def comma_list(text: str) -> tuple[str, ...]:
    """Trimmed, de-duplicated, in order."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def one_of(*choices: str) -> Callable[[str], str]:
    """Parse one of a few words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(" | ".join(choices))
        return text

    return parse


def read_settings(
    table: tuple[Setting, ...], environ: Mapping[str, str]
) -> tuple[dict[str, Any], list[Warned]]:
    """Field values for the settings named in `environ`, and a warning for each that could not be used.

    An unusable value falls back to the default: an agent starts with what it has. Empty values count as unset.
    """
    values: dict[str, Any] = {}
    warnings: list[Warned] = []
    for row in table:
        name = next((n for n in (row.env, *row.older) if environ.get(n)), None)
        if name is None:
            continue
        try:
            values[row.field] = row.parse(environ[name])
        except ValueError as error:
            expected = str(error) if row.parse not in (int, float) else "a number"
            if "convert" in expected or "invalid literal" in expected:
                expected = "a number"
            used = f"{row.default * 1000:.0f}" if row.parse is milliseconds else row.default
            warnings.append(Warned(name, f"{name} is not usable (expected {expected}); using {used}"))
    return values, warnings
