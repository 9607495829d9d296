"""The server: what each operation means, who waits for what, and how it is served."""
