"""Pure decisions: no event loop, no I/O, no clock. Everything hard is decided here and tested without a loop."""
