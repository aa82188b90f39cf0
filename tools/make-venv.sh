#!/bin/bash
# Make the virtual environment: make-venv.sh PYTHON DIR
set -euo pipefail
python=${1:?python} dir=${2:?directory}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "Python 3.11 or newer is needed; name it with PYTHON=…" >&2; exit 1; }
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing python3-venv"
        { apt-get install -y -q python3-venv || { apt-get update -q && apt-get install -y -q python3-venv; }; } >/dev/null
    else
        echo "The venv module of $python is missing (Debian: apt install python3-venv)." >&2; exit 1
    fi
fi
"$python" -m venv "$dir"
