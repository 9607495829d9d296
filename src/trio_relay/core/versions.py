"""Two parts of one version: what to say when they are not, and what mends it."""

import re

#: Mends a program that is behind, however it was installed.
UPGRADE = "`uv tool upgrade trio-relay` (or pipx upgrade, or pip install --upgrade)"


def difference(relay: str | None, here: str) -> str | None:
    """Say that the relay is of another version than the program `here`, and what mends the older of the two.

    None: they are the same, or the relay does not tell.
    """
    if relay in {None, here}:
        return None
    if _order(relay or "") < _order(here):
        mend = f"upgrade it where it runs, {UPGRADE}, then `trio-relay daemon restart`, or as you start it"
    else:
        mend = f"{UPGRADE} here"
    return f"the relay is {relay}, this is {here}: {mend}"


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
