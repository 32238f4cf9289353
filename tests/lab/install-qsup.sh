#!/bin/sh
# Installs a wheel of qsup on a systemd host as a user does, or upgrades to it; what runs goes on running.
#   install-qsup.sh WHEEL
set -eu
pip="/opt/qsup/bin/pip --quiet --disable-pip-version-check"
# --force-reinstall: a wheel of the same version with other content is installed as well
$pip install --no-index --no-deps --force-reinstall "$1"
$pip check
sh /opt/qsup/share/qsup/systemd/install.sh
