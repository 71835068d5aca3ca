#!/bin/sh
# Usage: setup.sh VENV LOCKFILE. Makes the environment (uv if it is there, else venv and pip) and installs genlab in it.
# Linux without an NVIDIA GPU gets the CPU build of torch from PyTorch's own index; where that cannot be reached, a CPU
# build that the environment holds stays, and else torch comes from the lock, with 3 GB of CUDA libraries.
set -eu
venv=$1 lock=$2
uv=$(command -v uv || true)

supported() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }
nvidia() { [ -e /dev/nvidiactl ] || command -v nvidia-smi >/dev/null 2>&1; }
cpu_torch() { "$venv/bin/python" -c 'from importlib.metadata import version; "+cpu" in version("torch") or exit(1)' 2>/dev/null; }
install() {
    if [ -n "$uv" ]; then
        "$uv" pip install --python "$venv/bin/python" "$@"
    else
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    fi
}

if [ -n "$uv" ]; then
    [ -x "$venv/bin/python" ] || uv venv --python '>=3.11,<3.14' "$venv"
elif [ ! -x "$venv/bin/python" ]; then
    for python in python3 python3.13 python3.12 python3.11; do
        if supported "$python"; then
            "$python" -m venv "$venv" && break
            rm -rf "$venv"  # half an environment would be taken for a whole one next time
        fi
    done
fi
[ -x "$venv/bin/python" ] || { echo "genlab needs Python 3.11, 3.12 or 3.13 on PATH" >&2; exit 2; }

if [ "$(uname -s)" = Linux ] && ! nvidia; then
    pinned=$(sed -nE 's/^(torch(vision)?==[^ ]+).*/\1/p' "$lock")
    (
        export UV_HTTP_TIMEOUT=15 PIP_DEFAULT_TIMEOUT=15 PIP_RETRIES=1
        # shellcheck disable=SC2086  # two words: torch and torchvision
        install --no-deps --index-url https://download.pytorch.org/whl/cpu $pinned >/dev/null 2>&1
    ) || echo "genlab: PyTorch's index of CPU builds cannot be reached" >&2
    if cpu_torch; then  # the lock without torch and what only its CUDA build needs
        awk '/^[a-z]/ { skip = /^(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+)==/ } !skip' "$lock" >"$venv/cpu.lock"
        lock=$venv/cpu.lock
    fi
fi
install --require-hashes -r "$lock"
install --no-deps -e .
