"""Claude Code's side: what its hooks, its status file and its notices mean. Acting on it is `sidecar.claude`."""
