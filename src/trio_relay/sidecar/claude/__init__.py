"""The keeper of one Claude Code session: a process beside it that hears its hooks and speaks with the relay."""
