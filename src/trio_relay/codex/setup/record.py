"""What installing has changed in a home: one file, so that uninstalling can put everything back."""

from pathlib import Path

import msgspec

from trio_relay.errors import RelayError
from trio_relay.home.files import Original, make_directories, read, write


class Record(msgspec.Struct, rename="camel"):
    """What we have made and edited. Paths are absolute.

    `codex_home`: the one that has the plugin. `aside`: files of others that had to give way (``--force``), by the place they had. `originals`: edited files.
    """

    version: str = ""
    codex_home: str = ""
    directories: list[str] = []
    aside: dict[str, str] = {}
    originals: dict[str, Original] = {}

    def made(self, directories: list[Path]) -> None:
        """Note directories that were not there."""
        known = set(self.directories)
        self.directories += [str(each) for each in directories if str(each) not in known]

    def edited(self, path: Path, original: Original) -> None:
        """Note how a file was before the first edit."""
        self.originals.setdefault(str(path), original)


def load(path: Path) -> Record:
    """Read the record; an empty one where there is none. Raises `RelayError` where it is damaged."""
    content = read(path)
    if content is None:
        return Record()
    try:
        return msgspec.json.decode(content, type=Record)
    except msgspec.DecodeError as problem:
        raise RelayError(
            f"{path} is damaged ({problem}); move it away and run this again: what bears our marks is found without it",
            code="install_record",
        ) from None


def save(path: Path, record: Record) -> None:
    """Write the record, 0600."""
    record.made(make_directories(path.parent, 0o700))
    write(path, msgspec.json.format(msgspec.json.encode(record), indent=1))
