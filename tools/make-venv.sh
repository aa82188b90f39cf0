#!/bin/bash
# Make the virtual environment, unless it is there and can be used:
#   make-venv.sh PYTHON DIR
#   make-venv.sh --usable DIR       change nothing; exit status 1 where it cannot be used
set -euo pipefail

# Its programs name the directory they were installed into, so one that was moved is of no use.
usable() {
    [ -s "$1/bin/pip3" ] && grep -qF "$(readlink -m "$1")/bin/python" "$1/bin/pip3" \
        && "$1/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

if [ "${1:-}" = --usable ]; then usable "${2:?directory}"; exit; fi
python=${1:?python} dir=${2:?directory}
if usable "$dir"; then exit 0; fi

# Debian keeps the module apart from Python; a bare system has neither.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null && [ "$python" = python3 ] \
        && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing python3-venv"
    apt=(apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 python3-venv)
    { "${apt[@]}" || { apt-get update -q && "${apt[@]}"; }; } >/dev/null
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "Python 3.11 or newer is needed; name it with PYTHON=…" >&2; exit 1; }
"$python" -c 'import ensurepip, venv' 2>/dev/null || {
    echo "The venv module of $python is missing (Debian: apt install python3-venv)." >&2; exit 1; }
if [ -e "$dir/pyvenv.cfg" ]; then
    echo "$dir was moved, or its Python or pip is gone: making it anew"
elif [ -n "$(ls -A "$dir" 2>/dev/null)" ]; then
    echo "$dir is there, but is no virtual environment; name another one with VENV=…" >&2; exit 1
fi
"$python" -m venv --clear "$dir"
