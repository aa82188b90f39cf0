#!/bin/bash
# Run tempest, from PyPI, against the cloud in STATE_DIR if one runs there, else against one of its own:
#   tempest.sh VENV        (TEMPEST=regular expression of tests, TEMPEST_REPORT=file)
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"
venv=${1:?virtual environment}
home=$PWD/build/tempest-run tempest=$PWD/build/tempest
chosen=${TEMPEST:-'tempest\.api\.compute\.(servers\.(test_create_server|test_list_servers_negative|test_server_metadata|test_servers)|flavors|keypairs|test_versions|limits)'}
report=${TEMPEST_REPORT:-docs/conformance.md}

python() { PYTHONPATH=src:. "$venv/bin/python" "$@"; }
protonova() { python -m protonova.cli.main "$@"; }

if [ ! -x "$tempest/bin/tempest" ]; then
    echo "installing tempest"
    python -m venv "$tempest"
    "$tempest/bin/pip" install -q 'tempest>=40'
fi
mkdir -p "$home/locks"

state=${PROTONOVA_STATE_DIR:-}
if [ -z "$state" ] || ! protonova status --state-dir "$state" >/dev/null 2>&1; then
    state=$home/cloud
    protonova down --state-dir "$state" >/dev/null
    rm -rf "$state"
    printf '[quota]\ninstances = 100\ncores = 200\nram = -1\n' >"$home/quota.conf"
    trap 'protonova down --state-dir "$state" >/dev/null' EXIT
    port=$(python -c 'from benchmarks.cloud import free_ports; print(free_ports())')
    protonova up --detach --state-dir "$state" --base-port "${BASE_PORT:-$port}" --driver fake \
        --computes 2 --config "$home/quota.conf"
fi
python tools/tempest_config.py "$state" "$home/tempest.conf"

export OS_TEST_TIMEOUT=300
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
    --concurrency 2 --regex "$chosen" --subunit >"$home/results.subunit" || true
cd - >/dev/null
version=$("$tempest/bin/pip" show tempest 2>/dev/null | sed -n 's/^Version: //p')
"$tempest/bin/python" tools/tempest_report.py "$home/results.subunit" "$report" "$version"
