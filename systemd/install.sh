#!/bin/sh
# Puts qsup's units where systemd finds them, and `qsup` into PATH. Run as root, from the place where the wheel put it:
#   sh /opt/qsup/share/qsup/systemd/install.sh
# Running it again, after an upgrade say, is safe: nothing is started, stopped or restarted, and no file of yours is touched.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
prefix=${here%/share/qsup/systemd}
if [ ! -x "$prefix/bin/qsup" ]; then
    echo "install.sh: $prefix/bin/qsup is not there: run this from the environment that qsup was installed into" >&2
    exit 1
fi
for unit in qsup.service qsup-guests.service qsup.slice; do
    install -D -m 0644 "$here/$unit" "/etc/systemd/system/$unit"
done
install -D -m 0644 "$here/qsup.sysusers" /etc/sysusers.d/qsup.conf
install -D -m 0644 "$here/qsup.tmpfiles" /etc/tmpfiles.d/qsup.conf
ln -sfn "$prefix/bin/qsup" /usr/local/bin/qsup
systemd-sysusers qsup.conf
systemd-tmpfiles --create qsup.conf
systemctl daemon-reload
echo "installed. Next: systemctl enable --now qsup.service qsup-guests.service"
