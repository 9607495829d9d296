"""Changing files of a user's home so that it can be undone: whole or not at all, and never what is another's.

An `Original` says how a file we edit was before. It does not hold the file's content, only enough to know it again:
once our part is taken out and the rest is what it was, the file ends as it ended then, or is gone if it was not there.
"""

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec

_ENDS = b" \t\r\n"


class Original(msgspec.Struct, frozen=True):
    """A file before we first edited it: whether it was there, its digest without its last white space, and that."""

    existed: bool
    digest: str = ""
    tail: str = ""


def original_of(content: bytes | None) -> Original:
    """Note how a file is, before the first edit; None: it is not there."""
    if content is None:
        return Original(existed=False)
    head = content.rstrip(_ENDS)
    return Original(existed=True, digest=_digest(head), tail=content[len(head) :].decode("ascii"))


def ended_as_before(content: bytes, original: Original | None) -> bytes | None:
    """`content`, our part being out of it, with the end it had; None: as it was, the file is not there.

    Where others have edited it meanwhile, `content` itself.
    """
    if original is None:
        return content
    head = content.rstrip(_ENDS)
    if not original.existed:
        return content if head else None
    return head + original.tail.encode() if _digest(head) == original.digest else content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read(path: Path) -> bytes | None:
    """The content of a file, None if there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def mode_of(path: Path) -> int | None:
    """The permissions of a file, None if there is none."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file's content at once and whole. Through a symbolic link, what it leads to."""
    target = Path(os.path.realpath(path))
    handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
        Path(draft).replace(target)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def make_directories(path: Path, mode: int = 0o755) -> list[Path]:
    """Make a directory with `mode` and, as usual, what leads to it; those that were not there, outermost first."""
    missing = [each for each in (path, *path.parents) if not each.exists()][::-1]
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    return missing


def remove_empty(directories: list[Path]) -> None:
    """Remove those of the directories in which nothing is, innermost first."""
    for each in sorted(directories, key=lambda one: len(one.parts), reverse=True):
        with suppress(OSError):  # not empty, or gone
            each.rmdir()
