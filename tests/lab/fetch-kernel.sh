#!/bin/sh
# Runs as a hook of mmdebstrap while apt is set up for the lab's release: fetches the package of the kernel for which
# a meta package stands into /kernel of the root filesystem. It is unpacked, not installed: no initramfs-tools, no boot loader.
#   fetch-kernel.sh ROOTFS META-PACKAGE
set -eu
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
package=$(apt-cache depends --important "$2" | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p')
mkdir "$1/kernel"
cd "$1/kernel"
apt-get -q -o APT::Sandbox::User=root download "$package"
