"""Who may use a database file: one process at a time owns it, by a lock beside it that dies with the process.

A second server is refused at once instead of both corrupting each other's view; whatever replaces the file owns it
meanwhile.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from trio_relay.errors import RelayError, StoreInUse


@contextmanager
def owned(file: Path) -> Iterator[None]:
    """Own `file` while the block runs; its directory is made if need be.

    Raises:
        StoreInUse: another process owns it.
        RelayError: the lock cannot be made (code ``bad_store``).

    """
    lock = filelock.FileLock(f"{file}.lock", timeout=0, mode=0o600)
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock.acquire()
    except filelock.Timeout:
        if not Path(lock.lock_file).exists():  # it could not even be made
            raise bad_store(file, "its directory cannot be written") from None
        raise StoreInUse(f"another trio-relay already serves {file}") from None
    except OSError as error:
        raise bad_store(file, error) from error
    try:
        yield
    finally:
        lock.release()


def bad_store(file: Path, error: Exception | str) -> RelayError:
    """Say that a file cannot be the relay's database."""
    return RelayError(f"{file} cannot be used as the relay's database: {error}", code="bad_store")
