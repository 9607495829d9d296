"""Sessions of coding agents: what is done in one, as its agent, and what connects one to the relay.

As its agent: ``message`` and ``send-claimable``, ``pair`` and ``disconnect``, ``label`` and ``tags``: the skills. To
connect it: ``attach``, ``sidecar``, ``mcp``, ``hook``; `preflight.py` and `session_tools.py` are for `codex-relay`.
"""
