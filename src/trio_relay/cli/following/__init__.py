"""What became of it: what happens in the room, why a message is not there yet, and changing its fate.

``events``, ``explain`` and ``prove``, ``retract`` and ``redrive``, ``threads``.
"""
