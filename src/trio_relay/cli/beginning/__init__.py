"""To begin with: a look at what this is, setting up, and whether all is well.

``demo``, ``setup``, ``install`` and ``uninstall``, ``doctor``, ``status``, ``version``, ``completion``.
"""
