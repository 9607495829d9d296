"""A user's home: changing its files so that it can be undone, what is shipped into it, what is found in it."""
