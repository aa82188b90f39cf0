#!/bin/bash
# Make a Debian machine able to run guests: packages, libvirt running, its Python binding.
#
#   prepare-host.sh [--venv DIR] [--no-packages] [--no-daemons] [--check]
#
#   --venv DIR      build libvirt-python into this virtual environment (default: .venv when it exists)
#   --no-packages   do not call apt
#   --no-daemons    do not start virtlogd and libvirtd
#   --check         change nothing; exit status 1 and one line for each thing that is missing
#
# Needs root. A second run with everything in place does nothing and takes well under a second.
# Machines without systemd are served too (containers, micro VMs): no package may start a daemon while
# it is installed, and the two daemons of libvirt are started here directly.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin DEBIAN_FRONTEND=noninteractive

# What runs guests.
RUN=(qemu-system-x86 qemu-utils libvirt-daemon-system libvirt-clients dnsmasq-base iproute2)
# What builds libvirt-python, which is published as source only.
BUILD=(libvirt-dev pkg-config gcc libc6-dev python3-dev)
# What builds the guest image of the tests (make-image.sh). The kernel and the programs inside the image
# are only unpacked there, never installed on this machine.
IMAGE=(busybox-static syslinux syslinux-common mtools dosfstools e2fsprogs fdisk kmod cpio)

venv= packages=yes daemons=yes check=
[ -x .venv/bin/python ] && venv=.venv
while [ $# -gt 0 ]; do
    case $1 in
    --venv) venv=${2:?--venv needs a directory}; shift;;
    --no-packages) packages=;;
    --no-daemons) daemons=;;
    --check) check=yes;;
    -h|--help) sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p}' "$0"; exit 0;;
    *) echo "unknown argument: $1 (see --help)" >&2; exit 2;;
    esac
    shift
done
say() { echo "prepare-host: $*"; }
die() { echo "prepare-host: $*" >&2; exit 1; }
if [ -z "$check" ] && [ "$(id -u)" != 0 ]; then die "must run as root"; fi

missing_packages() {
    dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null \
        | awk -v want="${RUN[*]} ${BUILD[*]} ${IMAGE[*]}" '
            $1 == "installed" { have[$2] = 1 }
            END { n = split(want, names, " "); for (i = 1; i <= n; i++) if (!have[names[i]]) print names[i] }'
}

install_packages() {
    command -v apt-get >/dev/null || die "apt-get is not here; install: $*"
    local policy=/usr/sbin/policy-rc.d ours= log rc=0
    # Without systemd as init, maintainer scripts that start daemons would fail the installation.
    if [ ! -d /run/systemd/system ] && [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' > $policy; chmod 755 $policy; ours=yes
    fi
    log=$(mktemp)
    local apt=(apt-get install -y -q --no-install-recommends -o Dpkg::Use-Pty=0
        -o DPkg::Lock::Timeout=300 "$@")
    "${apt[@]}" >"$log" 2>&1 || { apt-get update -q >>"$log" 2>&1; "${apt[@]}" >>"$log" 2>&1; } || rc=$?
    [ -z "$ours" ] || rm -f $policy
    [ $rc = 0 ] || { tail -n 30 "$log" >&2; rm -f "$log"; die "apt-get failed ($rc)"; }
    rm -f "$log"
}

answers() { virsh -q -c qemu:///system uri >/dev/null 2>&1; }

# A daemon of our own start: it must outlive this shell and hold none of its descriptors.
launch() { "$1" --daemon </dev/null >/dev/null 2>&1 || die "$1 did not start; try it in the foreground"; }

alive() { [ -s "/run/$1.pid" ] && kill -0 "$(cat "/run/$1.pid")" 2>/dev/null; }

start_daemons() {
    if [ -d /run/systemd/system ]; then
        systemctl start virtlogd.socket libvirtd.socket 2>/dev/null || systemctl start virtlogd libvirtd
    else
        alive virtlogd || { rm -f /run/virtlogd.pid; launch virtlogd; }
        alive libvirtd || { rm -f /run/libvirtd.pid; launch libvirtd; }
    fi
    # libvirtd opens its socket a moment after it went to the background
    for _ in $(seq 100); do answers && return 0; sleep 0.1; done
    die "libvirtd does not answer at qemu:///system"
}

# Without udev /dev/kvm belongs to root alone. As long as QEMU's user cannot open it, libvirt distrusts what it has
# learned of QEMU and starts QEMU anew to learn it for every question, some seconds each time.
kvm_is_shut() { [ -c /dev/kvm ] && getent group kvm >/dev/null && [ "$(stat -c %G /dev/kvm)" != kvm ]; }

# The binding must not be newer than the library it is built against.
binding_is() {
    [ -x "$venv/bin/python" ] || die "$venv has no bin/python"
    "$venv/bin/python" -c "import libvirt,sys; v=libvirt.getVersion(); \
        print('%d.%d.%d' % (v // 1000000, v // 1000 % 1000, v % 1000))" 2>/dev/null || echo none
}

build_binding() {
    local log; log=$(mktemp)
    "$venv/bin/python" -m pip install -q --no-input --disable-pip-version-check "libvirt-python==$1" >"$log" 2>&1 \
        || "$venv/bin/python" -m pip install -q --no-input --disable-pip-version-check "libvirt-python<=$1" >>"$log" 2>&1 \
        || { tail -n 20 "$log" >&2; rm -f "$log"; die "libvirt-python could not be built"; }
    rm -f "$log"
}

absent=0
lacks() { absent=1; say "missing: $*"; }

mapfile -t need < <(missing_packages)
if [ ${#need[@]} -gt 0 ] && [ -n "$packages" ]; then
    if [ -n "$check" ]; then lacks "packages ${need[*]}"
    else say "installing ${need[*]}"; install_packages "${need[@]}"; fi
fi

if kvm_is_shut; then
    if [ -n "$check" ]; then lacks "group kvm on /dev/kvm"
    else chgrp kvm /dev/kvm && chmod 660 /dev/kvm && say "/dev/kvm opened for the group kvm"; fi
fi

if [ -n "$daemons" ] && ! answers; then
    if [ -n "$check" ]; then lacks "a running libvirtd"; else start_daemons; say "libvirtd runs"; fi
fi

if [ -n "$venv" ]; then
    want=$(pkg-config --modversion libvirt 2>/dev/null || true)
    have=$(binding_is)
    if [ -z "$want" ] && [ -z "$check" ]; then die "libvirt-dev is not installed, libvirt-python cannot be built"; fi
    if [ "$have" != "${want:-unknown}" ]; then
        if [ -n "$check" ]; then lacks "libvirt-python ${want:+$want }in $venv"
        else say "building libvirt-python $want"; build_binding "$want"; fi
    fi
fi
exit $absent
