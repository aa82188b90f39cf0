#!/bin/bash
# Boot the first server of a running cloud: first-server.sh PROTONOVA STATE_DIR
# Under libvirt its disk is the guest image of the tests, built here once.
set -euo pipefail
protonova=${1:?the protonova command} state=${2:?state directory}
here=$(dirname "$(readlink -f "$0")")
image=()

if grep -q '"driver": "libvirt"' "$state/options.json"; then
    disk=${IMAGE:-$state/guest-image/tiny.qcow2}
    [ -n "${IMAGE:-}" ] || "$here/make-image.sh" "$disk" >/dev/null
    image=(--image "$disk")
fi
exec "$protonova" first-server --state-dir "$state" "${image[@]}"
