"""Installing the plugin into Claude Code, and what to check of it."""
