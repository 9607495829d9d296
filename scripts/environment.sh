# Sourced by the other scripts, from the repository's root: makes .venv and keeps it equal to the lock files.
#
#   ensure_environment requirements.lock        what the relay needs to run
#   ensure_environment requirements-dev.lock    that, and what the checks need
#
# What was installed is written into a stamp beside it, so a second call costs milliseconds. uv is used where it is
# installed; otherwise venv and pip. PYTHON=... chooses the interpreter of a new .venv.

say() { printf '%s\n' "$*" >&2; }

heading() { printf '\n== %s\n' "$*"; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
        if is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    say "trio-relay needs Python 3.11 or newer; none of these is: ${PYTHON:-python3 python3.14 ... python3.11 python}"
    say "Install one, or name it: PYTHON=/path/to/python3 $0"
    return 1
}

# make_venv DIRECTORY
make_venv() {
    rm -rf "$1"
    if command -v uv >/dev/null; then
        uv venv --quiet --python "${PYTHON:->=3.11}" "$1"
        return
    fi
    python=$(find_python) || return 1
    if ! "$python" -m venv "$1" >&2; then
        rm -rf "$1"
        say "$python cannot make a virtual environment: the lines above say why."
        say "On Debian and Ubuntu: apt-get install python3-venv"
        return 1
    fi
}

# install_into DIRECTORY pip-arguments...
install_into() {
    directory=$1
    shift
    if command -v uv >/dev/null; then
        uv pip install --quiet --python "$directory/bin/python" "$@"
    else
        "$directory/bin/python" -m pip install -qq --disable-pip-version-check --no-input "$@"
    fi
}

# can_install_into DIRECTORY: an environment made by uv holds no pip.
can_install_into() {
    is_new_enough "$1/bin/python" && { command -v uv || "$1/bin/python" -c 'import pip'; } >/dev/null 2>&1
}

# environment_of LOCK: all that decides what is installed, and where from.
environment_of() {
    pwd
    cat "$1" pyproject.toml
}

# is_current STAMP LOCK
is_current() { [ -f "$1" ] && environment_of "$2" | cmp -s - "$1"; }

ensure_environment() {
    lock=$1
    for stamp in ".venv/$lock" ".venv/requirements-dev.lock"; do
        # The development lock holds the whole of the other one.
        if is_current "$stamp" "$(basename "$stamp")" && .venv/bin/python -c '' 2>/dev/null; then
            return
        fi
    done
    if ! can_install_into .venv; then
        say "Making .venv ..."
        make_venv .venv || return 1
    fi
    say "Installing from $lock ..."
    rm -f ".venv/$lock"
    install_into .venv -r "$lock" || return 1
    install_into .venv --no-deps --editable . || return 1
    environment_of "$lock" >".venv/$lock"
}
