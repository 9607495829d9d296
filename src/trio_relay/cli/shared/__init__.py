"""What several commands share, and no command.

Finding things out: `environment.py` makes Settings of the environment, of `env_file.py` and `credentials.py`; `session.py`
tells who runs a command. Calling: `calling.py`, `waiting.py`. Speaking: `failures.py` says what goes wrong in one line and
with which exit code, `terminal.py` makes foreign text safe to print, `message_view.py`, `progress.py`, `logs.py`.
"""
