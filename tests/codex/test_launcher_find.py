import os
from pathlib import Path

import pytest

from trio_relay.codex.find import SHIM_MARK, find_codex
from trio_relay.errors import NotFound


def program(directory: Path, text: bytes = b"#!/bin/sh\nexec true\n", mode: int = 0o755) -> Path:
    directory.mkdir()
    path = directory / "codex"
    path.write_bytes(text)
    path.chmod(mode)
    return path


def test_our_own_shims_are_passed_over(tmp_path: Path) -> None:
    shim = program(tmp_path / "a", b"#!/bin/sh\n" + SHIM_MARK + b'\nexec codex-relay -- "$@"\n')
    real = program(tmp_path / "b")
    assert find_codex(os.pathsep.join([str(shim.parent), str(real.parent)])) == str(real)


def test_what_cannot_be_run_is_passed_over(tmp_path: Path) -> None:
    plain = program(tmp_path / "a", mode=0o644)
    (tmp_path / "b" / "codex").mkdir(parents=True)
    real = program(tmp_path / "c")
    path = os.pathsep.join([str(plain.parent), str(tmp_path / "b"), str(tmp_path / "none"), str(real.parent)])
    assert find_codex(path) == str(real)


def test_no_codex_says_how_to_get_one(tmp_path: Path) -> None:
    shim = program(tmp_path / "a", SHIM_MARK)
    with pytest.raises(NotFound, match="npm install -g @openai/codex"):
        find_codex(str(shim.parent))
