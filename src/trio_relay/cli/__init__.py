"""The commands: the only room that reads argv and the environment.

``main.py`` is the table of commands of ``trio-relay``, ``codex.py`` the program ``codex-relay``. The commands are in
rooms, a module each or for a few that belong together, much as ``--help`` groups them: `beginning`, `talking`, `sessions`,
`work`, `following`, `operating`. What several rooms use is in `shared`; they do not use each other. A command's module
is imported only when it is called, so that ``trio-relay --help`` is quick.
"""
