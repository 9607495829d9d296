"""What each operation means, as plain synchronous functions of a transaction.

No event loop here: a function takes a `Tx` and a request, changes the store through the named queries, notes on the
`Tx` which agents to wake, and answers the object the caller will see.
"""
