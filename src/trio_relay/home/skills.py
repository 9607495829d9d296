"""The skills that are shipped: beside the package in a wheel, at the top of a checkout."""

from pathlib import Path

import trio_relay

_PACKAGE = Path(trio_relay.__file__).parent


def skill_files() -> dict[str, bytes]:
    """Every file of the skills, by its path under ``skills/``."""
    for root in (_PACKAGE / "skills", _PACKAGE.parents[1] / "skills"):
        if root.is_dir():
            files = [each for each in sorted(root.rglob("*")) if each.is_file()]
            return {each.relative_to(root).as_posix(): each.read_bytes() for each in files}
    return {}
