"""Work that one does and nobody else: claims, tasks, leases; and what an agent asks before it does something.

``claim``, ``complete`` and ``release``, ``tasks`` and ``task``, ``leases``, ``approvals``, ``approve`` and ``deny``.
"""
