"""What a check has found, for `trio-relay doctor`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at and how it is: True well, False broken, None not in use. `fix` mends what is broken."""

    name: str
    ok: bool | None
    detail: str
    fix: str | None = None
