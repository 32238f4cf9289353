#!/bin/busybox sh
# The lab host's initramfs: loads the modules in the order of /mod/order, mounts the disk, hands over to systemd.
busybox=/bin/busybox
$busybox mount -t devtmpfs dev /dev
while read -r module; do $busybox insmod "/mod/$module.ko"; done </mod/order
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 250 ]; do
    $busybox usleep 20000
    tries=$((tries + 1))
done
$busybox mount -t ext4 -o rw,noatime /dev/vda /root || exec $busybox sh
$busybox mount --move /dev /root/dev
exec $busybox switch_root /root /lib/systemd/systemd
