"""Where the real Claude Code is, for the tests that run it."""

from support.programs import RealProgram

_CLAUDE = RealProgram("Claude Code", "claude", older=("2.1.197",))
claude_program = _CLAUDE.path
older_versions = _CLAUDE.older_versions
