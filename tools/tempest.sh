#!/bin/bash
# Run tempest, from PyPI, against the cloud in STATE_DIR if one runs there, else against one of its own:
#   tempest.sh VENV        (TEMPEST=regular expression of tests; TEMPEST_REPORT=file, TITLE=section of it)
# A cloud that runs already should have been started with --config tools/tempest-cloud.conf and two hosts.
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"
venv=${1:?virtual environment}
home=$PWD/build/tempest-run tempest=$PWD/build/tempest
chosen=${TEMPEST:-'^tempest\.api\.compute'}
report=${TEMPEST_REPORT:-docs/conformance.md} title=${TITLE:-Compute API, simulated guests}

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
    trap 'protonova down --state-dir "$state" >/dev/null' EXIT
    port=$(python -c 'from benchmarks.cloud import free_ports; print(free_ports())')
    printf '[fake]\nfaults = %s\n' "$PWD/tools/tempest-faults.json" | cat tools/tempest-cloud.conf - >"$home/cloud.conf"
    protonova up --detach --state-dir "$state" --base-port "${BASE_PORT:-$port}" --driver fake \
        --computes 2 --config "$home/cloud.conf"
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
"$tempest/bin/tempest" run --config-file "$home/tempest.conf" --regex "$chosen" --list-tests >"$home/listed"
cd - >/dev/null
version=$("$tempest/bin/pip" show tempest 2>/dev/null | sed -n 's/^Version: //p')
"$tempest/bin/python" tools/tempest_report.py "$home/results.subunit" "$home/listed" "$report" \
    "$version" "$title"
