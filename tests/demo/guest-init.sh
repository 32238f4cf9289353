#!/bin/busybox sh
# The demo guest's only program: says what it sees, pings the host, then counts the seconds until somebody presses the power
# button. Its addresses stand on the kernel's command line: demo.ip=ADDRESS/BITS demo.host=ADDRESS.
/bin/busybox --install -s /bin
export PATH=/bin
mkdir -p /tmp
mount -t devtmpfs dev /dev 2>/dev/null
mount -t proc proc /proc
mount -t sysfs sys /sys
exec </dev/console >/dev/console 2>&1

word() { sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
say() { echo "guest: $*"; }

while read -r module; do insmod "/mod/$module.ko" 2>/dev/null; done </mod/order
say "Linux $(uname -r), $(nproc) vCPUs, $(sed -n 's/MemTotal: *//p' /proc/meminfo) of memory"

await_power_button() {
    dd if="/dev/input/$1" of=/dev/null bs=24 count=1 2>/dev/null
    say "power button: going down in good order"
    sync
    poweroff -f
}
for event in /sys/class/input/event*; do
    case "$(cat "$event/device/name" 2>/dev/null)" in
        *Power*) await_power_button "${event##*/}" & ;;
    esac
done

host=$(word demo.host)
if [ -n "$host" ]; then
    ip link set eth0 up
    ip addr add "$(word demo.ip)" dev eth0
    tries=0
    until ping -c1 -W1 "$host" >/tmp/ping 2>&1 || [ $tries -ge 20 ]; do tries=$((tries + 1)); done
    if grep -q ' 0% packet loss' /tmp/ping; then
        say "the host $host answers my ping over the bridge: $(grep 'bytes from' /tmp/ping)"
    else
        say "the host $host does not answer my ping: $(tail -n2 /tmp/ping | tr '\n' ' ')"
    fi
fi
say "ready"

seconds=0
while :; do
    sleep 1
    seconds=$((seconds + 1))
    say "alive for $seconds s"
done
