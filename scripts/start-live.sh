#!/bin/sh
# A sidecar from this checkout for a Codex app-server that already runs: it joins the relay and delivers into a thread.
#
#   scripts/start-live.sh [URL]
#
# URL is the app-server's, ws://127.0.0.1:PORT or unix:///PATH; default: CODEX_APP_SERVER_URL. Which thread, which relay
# and the rest are settings (docs/settings.md). `codex-relay` needs none of this: it starts all the parts.
set -eu
if [ $# -gt 1 ]; then
    echo "usage: $0 [ws://127.0.0.1:PORT | unix:///PATH]" >&2
    exit 2
fi
if [ $# -eq 1 ]; then
    export CODEX_APP_SERVER_URL="$1"
fi
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
# The sidecar works where it is called, so the environment is made in a shell of its own.
(cd "$root" && . scripts/environment.sh && ensure_environment requirements.lock)
exec "$root/.venv/bin/python" -P -m trio_relay sidecar codex
