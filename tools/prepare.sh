#!/bin/bash
# Make the machine able to run real guests where that is possible, and say what is missing where it is not:
#   prepare.sh VENV        (DRIVER=fake skips it)
# It never fails: without libvirt the cloud runs on simulated guests.
set -uo pipefail
venv=${1:?virtual environment}
here=$(dirname "$(readlink -f "$0")")

[ "${DRIVER:-auto}" = fake ] && exit 0
if [ ! -e /etc/debian_version ] || ! command -v apt-get >/dev/null; then
    echo "This is not Debian: libvirt, QEMU and libvirt-python are left to you; without them guests are simulated."
elif [ "$(id -u)" != 0 ]; then
    missing=$("$here/prepare-host.sh" --check --venv "$venv" 2>&1) && exit 0
    echo "Guests will be simulated. For real ones run \`make install\` once as root:"
    sed 's/^prepare-host:/ /' <<<"$missing"
else
    "$here/prepare-host.sh" --venv "$venv" || echo "libvirt could not be made ready: guests will be simulated."
fi
exit 0
