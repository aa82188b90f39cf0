#!/bin/bash
# Run buf, fetched once from npm (its package carries the binary): buf.sh ARGUMENTS…
# Exit status 3: buf is not there and cannot be fetched.
set -euo pipefail
root=$(dirname "$(dirname "$(readlink -f "$0")")")
version=1.50.0
home=${BUF_HOME:-$root/build/buf}
buf=$home/node_modules/.bin/buf

if [ ! -x "$buf" ]; then
    command -v npm >/dev/null || { echo "buf needs npm" >&2; exit 3; }
    mkdir -p "$home"
    npm install --silent --no-audit --no-fund --prefix "$home" "@bufbuild/buf@^$version" >&2 || exit 3
fi
exec "$buf" "$@"
