#!/bin/bash
# Run buf, fetched once from npm (its package carries the binary): buf.sh ARGUMENTS…
# As root on Debian npm is installed when it is missing. Exit status 3: buf is not there and cannot be fetched.
set -euo pipefail
root=$(dirname "$(dirname "$(readlink -f "$0")")")
version=1.50.0
home=${BUF_HOME:-$root/build/buf}
buf=$home/node_modules/.bin/buf

install_npm() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    echo "installing npm" >&2
    local apt=(apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 npm)
    { "${apt[@]}" || { apt-get update -q && "${apt[@]}"; }; } >/dev/null 2>&1
}

if [ ! -x "$buf" ]; then
    command -v npm >/dev/null || install_npm || { echo "buf needs npm" >&2; exit 3; }
    mkdir -p "$home"
    npm install --silent --no-audit --no-fund --prefix "$home" "@bufbuild/buf@^$version" >&2 || exit 3
fi
exec "$buf" "$@"
