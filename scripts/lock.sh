#!/bin/sh
# Pins every dependency with its hashes, leaving out releases younger than a week. Needs uv.
set -eu
cd "$(dirname "$0")/.."
week_ago=$(date -u -d '7 days ago' +%Y-%m-%d 2>/dev/null || date -u -v-7d +%Y-%m-%d)
compile() { uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header \
    --no-annotate --no-emit-index-url --exclude-newer "$week_ago" "$@"; }
compile -o requirements.lock
compile --extra test -c requirements.lock -o requirements-test.lock
