"""Codex: its app-server protocol (pure), the driver that carries it, and the launcher."""
