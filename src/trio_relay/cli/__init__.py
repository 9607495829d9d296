"""The commands: the only room that reads argv and the environment.

``main.py`` is the table of commands; each command has its own module, imported only when it is called, so that
``trio-relay --help`` is quick. ``failures.py`` says what goes wrong in one line and with which exit code,
``environment.py`` makes Settings of the environment, ``terminal.py`` makes foreign text safe to print.
"""
