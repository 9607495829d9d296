"""The store: a transaction is a plain synchronous function of a connection.

`open_store` gives a store with two verbs. ``write(operation)`` runs a function of a connection in a transaction that
is durable when the call returns; ``read(operation)`` runs one on a connection that cannot write. SQL stands in
``queries/*.sql``, each statement named and described by the state change it makes; the schema is ``migrations/``.
"""

from trio_relay.store.sqlite import SqliteStore, open_store

__all__ = ["SqliteStore", "open_store"]
