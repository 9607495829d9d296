"""The relay as tools of a model, by the Model Context Protocol (MCP).

```
toolbox.py    what a model sees: names, arguments, instructions (pure)
speaker.py    whose word a call is: from the credential or the session, never from the arguments
tools.py      what each tool does: calls of the relay's HTTP API, with the caller's own credential
server.py     the above behind the official SDK; the only module that imports it
```

Over HTTP (``relay/web/mcp.py``) and over stdio (``cli/sessions/mcp.py``) the tools are the same, and both go through the API: a
tool can do nothing that its caller's credential could not do without it.
"""
