#!/bin/sh
# Installs a wheel of qsup on a systemd host as a user does, or upgrades to it; what runs goes on running.
#   install-qsup.sh WHEEL
set -eu
pip="/opt/qsup/bin/pip --quiet --disable-pip-version-check"
# --force-reinstall: a wheel of the same version with other content is installed as well
$pip install --no-index --no-deps --force-reinstall "$1"
$pip check
shipped=/opt/qsup/share/qsup/systemd
for unit in "$shipped"/*.service "$shipped"/*.slice; do
    install -m 0644 "$unit" /etc/systemd/system/
done
install -D -m 0644 "$shipped/qsup.sysusers" /etc/sysusers.d/qsup.conf
install -D -m 0644 "$shipped/qsup.tmpfiles" /etc/tmpfiles.d/qsup.conf
ln -sf /opt/qsup/bin/qsup /usr/local/bin/qsup
systemd-sysusers qsup.conf
systemd-tmpfiles --create qsup.conf
systemctl daemon-reload
