"""The Codex sidecar: the process that carries messages between the relay and one live Codex thread."""
