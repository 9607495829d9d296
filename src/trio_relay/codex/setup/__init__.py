"""Putting codex-relay into a user's home, and taking it out again without a trace."""
