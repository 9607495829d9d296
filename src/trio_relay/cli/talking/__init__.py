"""What people (and scripts) do in the room: they see who is there, write, read, and talk live.

``chat``, ``send``, ``reply``, ``inbox``, ``read``, ``history`` and ``search``, ``agents``, ``agent``.
"""
