#!/bin/bash
# Build the guest image of the tests, "protonova-tiny": a bootable qcow2 disk of some 30 MB.
#
#   make-image.sh [--force] OUT.qcow2
#
# Nothing is done when OUT is newer than what it is made from. See guest-image/README.md for what the guest does.
#
#   KERNEL_CACHE=DIR    where Debian's cloud kernel is unpacked (default: beside OUT, in "kernel")
#   ROOT_MB=48          size of the root partition
#   ROOT_PASSWORD=tiny  password of root on the consoles
#   VARIANT=text        printed at boot, tells images apart
#   VERBOSE=1           kernel messages on the serial console
#
# Needs no root, no loop device and no mount. The kernel and the optional programs (guest agent, ssh server) are
# downloaded as packages and unpacked, never installed here.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin MTOOLS_SKIP_CHECK=1

HERE=$(dirname "$(readlink -f "$0")")
force=
[ "${1:-}" = --force ] && { force=yes; shift; }
OUT=$(readlink -m "${1:?usage: make-image.sh [--force] OUT.qcow2}")
KERNEL_CACHE=${KERNEL_CACHE:-$(dirname "$OUT")/kernel}
ROOT_MB=${ROOT_MB:-48}
BUSYBOX=/bin/busybox
MODULES_BOOT="virtio_pci virtio_blk virtio_scsi sd_mod ata_piix ext4"
MODULES_ROOT="virtio_net virtio_console virtio_balloon virtio-rng button evdev sr_mod isofs vfat
    nls_ascii nls_cp437 nls_iso8859-1 nls_utf8 pvpanic-pci virtio_input virtiofs"
CMDLINE="console=tty0 console=ttyS0,115200 mitigations=off nokaslr no_timer_check tsc=reliable"
CMDLINE="$CMDLINE random.trust_cpu=on cryptomgr.notests net.ifnames=0 panic=5"
[ -n "${VERBOSE:-}" ] || CMDLINE="$CMDLINE quiet loglevel=4"

if [ -z "$force" ] && [ -s "$OUT" ] && [ -z "$(find "$HERE/guest-image" "$0" -newer "$OUT" -print -quit)" ]; then
    echo "$OUT is up to date"; exit 0
fi

mkdir -p "$(dirname "$OUT")"
W=$(mktemp -d)
trap 'rm -rf "$W"' EXIT

# ------------------------------------------------------------------------------------- what Debian gives us
fetch_packages() {
    local kernel debs=$W/debs
    mkdir -p "$debs"
    kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: *\(linux-image-[^ ]*\)$/\1/p')
    [ -n "$kernel" ] || { echo "apt does not know linux-image-cloud-amd64; run apt-get update" >&2; exit 1; }
    ( cd "$debs"; apt-get download -qq "$kernel" 2>/dev/null )
    ( cd "$debs"; for p in qemu-guest-agent dropbear-bin libtomcrypt1 libtommath1; do
        apt-get download -qq $p 2>/dev/null || echo "without $p" >&2; done )
    for d in "$debs"/*.deb; do dpkg-deb -x "$d" "$W/unpacked"; done
    local version; version=$(basename "$W"/unpacked/boot/vmlinuz-* | sed 's/^vmlinuz-//')
    depmod -b "$W/unpacked" "$version"
    mkdir -p "$(dirname "$KERNEL_CACHE")"
    rm -rf "$KERNEL_CACHE"
    mv "$W/unpacked" "$KERNEL_CACHE"
}
ls "$KERNEL_CACHE"/boot/vmlinuz-* >/dev/null 2>&1 || fetch_packages
VMLINUZ=$(ls "$KERNEL_CACHE"/boot/vmlinuz-* | sort -V | tail -1)
KVER=${VMLINUZ##*/vmlinuz-}

# ------------------------------------------------------------------------------------- pieces
busybox_tree() {        # DIR
    mkdir -p "$1"/{bin,sbin,usr/bin,usr/sbin,proc,sys,dev,tmp,run,mnt,root,etc}
    cp $BUSYBOX "$1/bin/busybox"
    local a; for a in $($BUSYBOX --list); do [ -e "$1/bin/$a" ] || ln -s busybox "$1/bin/$a"; done
    ln -sf ../bin/busybox "$1/sbin/init"
}

copy_modules() {        # DIR NAME...: with what they depend on, and the order to load them in
    local dir=$1 kind file name; shift
    mkdir -p "$dir/modules"; : > "$dir/modules/order"
    while read -r kind file _; do
        name=${file##*/}
        if [ "$kind" != insmod ] || grep -qx "$name" "$dir/modules/order"; then continue; fi
        cp "$file" "$dir/modules/$name"; echo "$name" >> "$dir/modules/order"
    done < <(modprobe -d "$KERNEL_CACHE" -S "$KVER" --ignore-install --show-depends -a "$@" 2>/dev/null || true)
}

# A dynamic program; its libraries lie outside the default path, so that busybox never meets them.
copy_program() {        # DIR PATH
    local program=$KERNEL_CACHE$2 name=${2##*/} lib
    [ -x "$program" ] || return 0
    mkdir -p "$1/opt/lib" "$1/opt/bin"
    local libs; libs=$(LD_LIBRARY_PATH=$KERNEL_CACHE/usr/lib/x86_64-linux-gnu ldd "$program")
    case $libs in *"not found"*) echo "without $name: a library is missing" >&2; return 0;; esac
    cp "$program" "$1/opt/bin/"
    for lib in $(grep -o '/[^ ]*' <<< "$libs"); do cp -L "$lib" "$1/opt/lib/"; done
    printf '#!/bin/sh\nexec /opt/lib/ld-linux-x86-64.so.2 --library-path /opt/lib /opt/bin/%s "$@"\n' "$name" \
        > "$1/usr/sbin/$name"
}

# ------------------------------------------------------------------------------------- initial RAM disk
I=$W/initrd
busybox_tree "$I"
# shellcheck disable=SC2086
copy_modules "$I" $MODULES_BOOT
install -m 755 "$HERE/guest-image/initramfs-init" "$I/init"
( cd "$I" && find . -print0 | LC_ALL=C sort -z | cpio -0 -o -H newc -R 0:0 --quiet | gzip -6 ) > "$W/initrd.gz"

# ------------------------------------------------------------------------------------- root file system
R=$W/root
busybox_tree "$R"
# shellcheck disable=SC2086
copy_modules "$R" $MODULES_ROOT
cp -r "$HERE/guest-image/root/." "$R/"
mkdir -p "$R"/var/{lib/tiny,run,log} "$R/root/.ssh" "$R/etc/dropbear" "$R/usr/local/var/run"
chmod 700 "$R/root/.ssh"
echo "${VARIANT:-default}" > "$R/etc/variant"
echo tiny > "$R/etc/hostname"
echo /bin/sh > "$R/etc/shells"
echo 'root:x:0:' > "$R/etc/group"
echo 'root:x:0:0:root:/root:/bin/sh' > "$R/etc/passwd"
echo "root:$($BUSYBOX mkpasswd -m sha256 "${ROOT_PASSWORD:-tiny}"):19000:0:99999:7:::" > "$R/etc/shadow"
chmod 600 "$R/etc/shadow"
copy_program "$R" /usr/sbin/qemu-ga
copy_program "$R" /usr/sbin/dropbear
ln -sf ../usr/sbin/shutdown "$R/sbin/shutdown"
ln -sf ../bin/busybox "$R/sbin/hwclock"          # the guest agent looks for it there
chmod 755 "$R"/etc/rc.* "$R"/etc/acpi/PWRF/* "$R"/usr/sbin/* "$R"/usr/share/udhcpc/*

UUID=$(cat /proc/sys/kernel/random/uuid)         # of its own, so that two builds can be attached together
truncate -s "${ROOT_MB}M" "$W/root.img"
mke2fs -q -t ext4 -O ^metadata_csum,^64bit -m 0 -U "$UUID" -L tinyroot -E root_owner=0:0,lazy_itable_init=1 \
    -d "$R" "$W/root.img"

# ------------------------------------------------------------------------------------- boot partition and disk
KB=$((($(stat -c%s "$VMLINUZ") + $(stat -c%s "$W/initrd.gz")) / 1024))
BOOT_MB=$((KB / 1024 + 4))
truncate -s "${BOOT_MB}M" "$W/boot.img"
mkfs.vfat -F 16 -n TINYBOOT "$W/boot.img" >/dev/null
cat > "$W/syslinux.cfg" <<X
SERIAL 0 115200
PROMPT 0
TIMEOUT 0
DEFAULT linux
LABEL linux
  LINUX /vmlinuz
  INITRD /initrd
  APPEND root=UUID=$UUID $CMDLINE
X
mcopy -i "$W/boot.img" "$VMLINUZ" ::/vmlinuz
mcopy -i "$W/boot.img" "$W/initrd.gz" ::/initrd
mmd -i "$W/boot.img" ::/syslinux
mcopy -i "$W/boot.img" "$W/syslinux.cfg" ::/syslinux/syslinux.cfg
syslinux --install --directory /syslinux "$W/boot.img"

truncate -s "$((1 + BOOT_MB + ROOT_MB + 1))M" "$W/disk.raw"
sfdisk -q "$W/disk.raw" <<X
label: dos
start=1MiB, size=${BOOT_MB}MiB, type=e, bootable
start=$((1 + BOOT_MB))MiB, size=${ROOT_MB}MiB, type=83
X
dd if=/usr/lib/syslinux/mbr/mbr.bin of="$W/disk.raw" bs=440 count=1 conv=notrunc status=none
dd if="$W/boot.img" of="$W/disk.raw" bs=1M seek=1 conv=notrunc,sparse status=none
dd if="$W/root.img" of="$W/disk.raw" bs=1M seek=$((1 + BOOT_MB)) conv=notrunc,sparse status=none
qemu-img convert -f raw -O qcow2 "$W/disk.raw" "$OUT.part"
mv "$OUT.part" "$OUT"
echo "$OUT: $(stat -c%s "$OUT") bytes, kernel $KVER"
