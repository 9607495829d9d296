"""Where the real Codex is, for the tests that run it."""

from support.programs import RealProgram

_CODEX = RealProgram("Codex", "codex", older=("0.130.0", "0.150.0"))
codex_program = _CODEX.path
older_versions = _CODEX.older_versions
