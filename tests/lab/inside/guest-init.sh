#!/bin/busybox sh
# The nested guest's initramfs: shows what hardware it sees, does what its kernel command line asks, one marker a line.
#
#   lab.ip=ADDRESS/BITS   lab.mtu=BYTES   lab.ping=ADDRESS      bring eth0 up, ping (up to 30 tries, 3 in a row must do)
#   lab.write=WORD        lab.read                              a word on /dev/vda, 1 MiB into it
#   lab.off   lab.reboot   lab.panic   lab.busy                 what to do once it is ready (nothing: wait)
#
# An ACPI power button prints GUEST-POWERDOWN and powers off. Lines typed on the console are run by a shell.
/bin/busybox mkdir -p /dev /proc /sys /tmp
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev 2>/dev/null
mount -t proc proc /proc
mount -t sysfs sys /sys
exec </dev/console >/dev/console 2>&1

word() { sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
asked() { grep -qw "$1" /proc/cmdline; }
read_file() { cat "$1" 2>/dev/null; }

echo "GUEST-INIT kernel=$(uname -r)"
while read -r module; do insmod "/mod/$module.ko" 2>/dev/null; done </mod/order

watch_power_button() {
    dd if="/dev/input/$1" of=/dev/null bs=24 count=1 2>/dev/null
    echo "GUEST-POWERDOWN uptime=$(cut -d' ' -f1 /proc/uptime)"
    sync
    poweroff -f
}
for event in /sys/class/input/event*; do
    case "$(read_file "$event/device/name")" in
        *Power*) watch_power_button "${event##*/}" & ;;
    esac
done

show_hardware() {
    echo "GUEST-CPUS online=$(read_file /sys/devices/system/cpu/online) $(grep -m1 'model name' /proc/cpuinfo)"
    for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
        topology=$cpu/topology
        echo "GUEST-CPU ${cpu##*/cpu} package=$(read_file $topology/physical_package_id)" \
            "core=$(read_file $topology/core_id) siblings=$(read_file $topology/thread_siblings_list)"
    done
    for node in /sys/devices/system/node/node[0-9]*; do
        [ -d "$node" ] || continue
        echo "GUEST-NODE ${node##*/node} cpus=$(read_file $node/cpulist) distance=$(read_file $node/distance | tr ' ' ,)" \
            "kib=$(sed -n 's/.*MemTotal: *\([0-9]*\).*/\1/p' $node/meminfo)"
    done
    echo "GUEST-MEMORY kib=$(sed -n 's/MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"
    for nic in /sys/class/net/eth*; do
        [ -d "$nic" ] || continue
        echo "GUEST-NIC ${nic##*/} mac=$(read_file $nic/address) mtu=$(read_file $nic/mtu)" \
            "rx=$(ls -d $nic/queues/rx-* | wc -l) tx=$(ls -d $nic/queues/tx-* | wc -l)"
    done
    for disk in /sys/block/vd* /sys/block/sd*; do
        [ -d "$disk" ] || continue
        echo "GUEST-DISK ${disk##*/} sectors=$(read_file $disk/size) queues=$(ls $disk/mq | wc -l) serial=$(read_file $disk/serial)"
    done
}

bring_up_network() {
    ip link set lo up
    [ -z "$(word lab.mtu)" ] || ip link set eth0 mtu "$(word lab.mtu)"
    ip link set eth0 up
    ip addr add "$(word lab.ip)" dev eth0
}

ping_target() {
    tries=0
    until ping -c1 -W1 "$1" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 30 ] || break
    done
    mtu=$(word lab.mtu)
    # 28 bytes of IP and ICMP headers: the largest packet that fits
    if ping -c3 -W5 ${mtu:+-s $((mtu - 28))} "$1" >/tmp/ping; then
        echo "GUEST-PING ok target=$1 mtu=${mtu:-1500}"
    else
        echo "GUEST-PING failed target=$1 mtu=${mtu:-1500}"
    fi
}

write_word() {
    echo "$1" | dd of=/dev/vda bs=512 seek=2048 conv=sync,fsync 2>/dev/null && echo "GUEST-WROTE $1" || echo "GUEST-WROTE failed"
}

read_word() {
    echo "GUEST-READ $(dd if=/dev/vda bs=512 skip=2048 count=1 2>/dev/null | tr -d '\0' | head -n1)"
}

show_hardware
[ -z "$(word lab.ip)" ] || bring_up_network
[ -z "$(word lab.ping)" ] || ping_target "$(word lab.ping)"
[ -z "$(word lab.write)" ] || write_word "$(word lab.write)"
! asked lab.read || read_word
echo "GUEST-READY uptime=$(cut -d' ' -f1 /proc/uptime)"
! asked lab.off || poweroff -f
! asked lab.reboot || reboot -f
! asked lab.panic || echo c >/proc/sysrq-trigger
if asked lab.busy; then while :; do :; done & fi
while :; do setsid cttyhack sh; sleep 1; done
