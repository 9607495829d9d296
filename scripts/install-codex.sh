#!/bin/sh
# Installs trio-relay and puts codex-relay into your home: with uv if you have it, else pipx, else pip in an
# environment of its own. From a checkout it installs that checkout; alone, the newest release.
#
#   install-codex.sh             asks, in a terminal, whether `codex` shall start codex-relay
#   install-codex.sh --alias     yes (AGENT_RELAY_CODEX_ALIAS=1 says the same)
#   install-codex.sh --no-alias  no
#
# What else you give is given to `trio-relay install codex` (docs/cli.md). It can be repeated, to upgrade.
# TRIO_RELAY_SOURCE names another thing to install: a directory, a wheel, trio-relay==0.1.0.
# `agent-relay-codex uninstall` takes everything out again but the package, and says how that goes.
set -eu

say() { printf '%s\n' "$*" >&2; }

source_of_package() {
    if [ -n "${TRIO_RELAY_SOURCE:-}" ]; then
        printf '%s\n' "$TRIO_RELAY_SOURCE"
        return
    fi
    # Read from a pipe, $0 is the shell and there is no checkout around it.
    checkout=$(CDPATH='' cd -- "$(dirname -- "$0")/.." 2>/dev/null && pwd) || checkout=
    if [ -f "$checkout/scripts/install-codex.sh" ] && grep -qs '^name = "trio-relay"' "$checkout/pyproject.toml"; then
        printf '%s\n' "$checkout"
    else
        printf 'trio-relay\n'
    fi
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    say "trio-relay needs uv, or Python 3.11 or newer: https://docs.astral.sh/uv/ brings both."
    return 1
}

package=$(source_of_package)
if command -v uv >/dev/null; then
    say "Installing $package with uv ..."
    uv tool install --quiet --force --python '>=3.11' "$package"
    programs=$(uv tool dir --bin)
elif command -v pipx >/dev/null; then
    say "Installing $package with pipx ..."
    pipx install --quiet --force "$package"
    programs=$(pipx environment --value PIPX_BIN_DIR)
else
    python=$(find_python)
    environment=${XDG_DATA_HOME:-$HOME/.local/share}/trio-relay/venv
    say "Installing $package with pip into $environment ..."
    "$python" -m venv "$environment"
    "$environment/bin/python" -m pip install -qq --disable-pip-version-check --upgrade "$package"
    programs=$environment/bin
fi
exec "$programs/trio-relay" install codex "$@"
