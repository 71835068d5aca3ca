#!/bin/sh
# Usage: setup.sh VENV LOCKFILE. Makes the environment (uv if it is there, else venv and pip) and installs genlab in it.
set -eu
venv=$1 lock=$2

supported() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }

if command -v uv >/dev/null 2>&1; then
    [ -x "$venv/bin/python" ] || uv venv --python '>=3.11,<3.14' "$venv"
    uv pip install --python "$venv/bin/python" --require-hashes -r "$lock"
    uv pip install --python "$venv/bin/python" --no-deps -e .
    exit
fi

if [ ! -x "$venv/bin/python" ]; then
    for python in python3 python3.13 python3.12 python3.11; do
        if supported "$python"; then
            "$python" -m venv "$venv" && break
            rm -rf "$venv"  # half an environment would be taken for a whole one next time
        fi
    done
fi
[ -x "$venv/bin/python" ] || { echo "genlab needs Python 3.11, 3.12 or 3.13 on PATH" >&2; exit 2; }
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -e .
