#!/bin/bash
# Run tempest, from PyPI, against the cloud in STATE_DIR if one runs there, else against one of its own:
#   tempest.sh VENV        (TEMPEST=regular expression of tests; TEMPEST_REPORT=file, TITLE=section of it)
# With DRIVER=libvirt guests are real, and what wants to log in to them is run.
# A cloud that runs already should have been started with --config tools/tempest-cloud.conf and two hosts, for real
# guests with tools/tempest-guests.conf.
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"
venv=${1:?virtual environment}
tempest=$PWD/build/tempest driver=${DRIVER:-fake}
report=${TEMPEST_REPORT:-docs/conformance.md} guest=()
if [ "$driver" = fake ]; then
    chosen='^tempest\.api\.compute' title='Compute API, simulated guests' workers=2 seconds=600
else
    # What of the above is skipped where no guest can be logged in to, and scenarios. Emulated guests have no time for
    # each other.
    chosen='^tempest\.(scenario\.test_(minimum_basic|server_basic_ops|server_advanced_ops)'
    chosen+='|api\.compute\.servers\.(test_(attach_interfaces|create_server|device_tagging)\.'
    chosen+='|test_server_actions\.ServerActionsV293))'
    driver=libvirt title='Real guests' workers=1 seconds=1800
fi
home=$PWD/build/tempest-$driver
chosen=${TEMPEST:-$chosen} title=${TITLE:-$title}

python() { PYTHONPATH=src:. "$venv/bin/python" "$@"; }
protonova() { python -m protonova.cli.main "$@"; }

if [ ! -x "$tempest/bin/tempest" ]; then
    echo "installing tempest"
    python -m venv "$tempest"
    "$tempest/bin/pip" install -q 'tempest>=40'
fi
mkdir -p "$home/locks"
if [ "$driver" != fake ]; then
    guest=("$home/guest/guest.qcow2")
    tools/make-image.sh "${guest[0]}"
fi

state=${PROTONOVA_STATE_DIR:-}
if [ -z "$state" ] || ! protonova status --state-dir "$state" >/dev/null 2>&1; then
    state=$home/cloud
    protonova down --state-dir "$state" >/dev/null
    rm -rf "$state"
    trap 'protonova down --state-dir "$state" >/dev/null' EXIT
    port=$(python -c 'from benchmarks.cloud import ports; print(ports().__enter__())')
    settings=tools/tempest-guests.conf computes=1
    if [ "$driver" = fake ]; then
        settings=$home/cloud.conf computes=2
        printf '[fake]\nfaults = %s\n' "$PWD/tools/tempest-faults.json" | cat tools/tempest-cloud.conf - >"$settings"
    fi
    protonova up --detach --state-dir "$state" --base-port "${BASE_PORT:-$port}" --driver "$driver" \
        --computes $computes --config "$settings"
fi
python tools/tempest_config.py "$state" "$home/tempest.conf" "${guest[@]}"

export OS_TEST_TIMEOUT=$seconds
cd "$home"
package=$("$tempest/bin/python" -c 'import os, tempest; print(os.path.dirname(tempest.__file__))')
# Tests of one class share what their class has made, so they stay together.
cat >.stestr.conf <<END
[DEFAULT]
test_path=$package/test_discover
top_dir=$(dirname "$package")
group_regex=([^\.]*\.)*
END
"$tempest/bin/tempest" run --config-file "$home/tempest.conf" \
    --concurrency $workers --regex "$chosen" --subunit >"$home/results.subunit" || true
"$tempest/bin/tempest" run --config-file "$home/tempest.conf" --regex "$chosen" --list-tests >"$home/listed"
cd - >/dev/null
version=$("$tempest/bin/pip" show tempest 2>/dev/null | sed -n 's/^Version: //p')
"$tempest/bin/python" tools/tempest_report.py "$home/results.subunit" "$home/listed" "$report" \
    "$version" "$title"
