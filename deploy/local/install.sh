#!/bin/sh
# Makes .venv and installs, by hash, everything the lock files name, and the packages given here.
#
#   sh deploy/local/install.sh PACKAGE_DIRECTORY...
#
# Needs Python 3.11 or 3.12 with its venv module; no root, no Docker, no compiler.
set -eu

say() { printf '[install] %s\n' "$*"; }

# A program of that name may be a shim that only prints an error, or lack a part: try it.
usable() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null
}

find_python() {
    for candidate in "${PYTHON:-python3.11}" python3.11 python3.12 python3 python; do
        path=$(command -v "$candidate" 2>/dev/null) || continue
        usable "$path" || continue
        found_without_venv=$path
        "$path" -c 'import ensurepip, venv' 2>/dev/null || continue
        printf '%s\n' "$path"
        return
    done
    {
        if [ -n "${found_without_venv:-}" ]; then
            echo "$found_without_venv has no venv module. On Debian or Ubuntu:"
            echo '    apt-get install python3-venv     (or python3.11-venv)'
        else
            echo 'Weir needs Python 3.11 (3.12 works too) on the PATH, and found none. On Debian 12:'
            echo '    apt-get install python3 python3-venv'
            echo 'elsewhere: pyenv install 3.11, or the package python3.11. Another place:'
            echo '    make install PYTHON=/path/to/python3.11'
        fi
    } >&2
    return 1
}

if ! { [ -x .venv/bin/python ] && usable .venv/bin/python; }; then
    python=$(find_python)
    say "making .venv with $python"
    rm -rf .venv
    "$python" -m venv .venv
fi
python=.venv/bin/python

editable() {
    installer=$1
    shift
    for package in "$@"; do
        printf '%s\0%s\0' --editable "./$package"
    done | xargs -0 $installer
}

with_uv() {
    "$python" -m pip install --quiet --disable-pip-version-check --require-hashes \
        --requirement requirements/bootstrap.txt &&
        say "installing what requirements/*.txt name" &&
        "$python" -m uv pip sync --quiet --python "$python" --system-certs --require-hashes \
            requirements/dev.txt requirements/model.txt &&
        say "installing the packages of this repository" &&
        editable "$python -m uv pip install --quiet --python $python --system-certs \
            --no-deps --no-build-isolation" "$@"
}

with_pip() {
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        --requirement requirements/dev.txt --requirement requirements/model.txt &&
        editable "$python -m pip install --quiet --disable-pip-version-check \
            --no-deps --no-build-isolation" "$@"
}

started=$(date +%s)
say 'installing uv'
if ! with_uv "$@"; then
    say 'uv did not manage it; once more with pip alone (about a minute)'
    with_pip "$@"
fi
say "done in $(($(date +%s) - started)) s"
