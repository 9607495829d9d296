"""Running a relay: the server, as a service too, its data, who may do what, and what feeds it from outside.

``serve``, ``daemon``, ``backup`` and ``restore``, ``db``, ``tokens``, ``invite`` and ``join``, ``profile``, ``connector``.
"""
