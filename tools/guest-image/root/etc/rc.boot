#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
echo "tiny-init: init started after $(cut -d' ' -f1 /proc/uptime) s" > /dev/console
mount -o remount,rw / 2>/dev/null
mkdir -p /dev/pts /run
mount -t devpts devpts /dev/pts
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
while read -r module; do insmod "/modules/$module" 2>/dev/null; done < /modules/order
ip link set lo up
hostname -F /etc/hostname
boots=$(($(cat /var/lib/tiny/boots 2>/dev/null || echo 0) + 1))
echo $boots > /var/lib/tiny/boots
mdev -d 2>/dev/null
/usr/sbin/tiny-cloud $boots < /dev/null > /dev/console 2>&1 &
