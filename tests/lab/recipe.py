"""What the lab's image is made of, as data, and the key under which the image made from it is kept."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent

RELEASES = {"bookworm": "3.11", "trixie": "3.13"}
"""Debian release → the version of its Python, for which wheels are fetched."""
DEFAULT_RELEASE = "bookworm"

PACKAGES = (
    "busybox-static",
    "dbus",
    "ethtool",
    "iproute2",
    "iputils-ping",
    "kmod",
    "libpam-systemd",
    "nftables",
    "numactl",
    "procps",
    "python3",
    "python3-venv",
    "qemu-system-x86",
    "qemu-utils",
    "systemd",
    "systemd-sysv",
    "udev",
    "util-linux",
)
KERNEL_PACKAGE = "linux-image-cloud-amd64"
"""The meta package; which kernel it stands for is asked from the mirror when the image is built."""

UNUSED_PATHS = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
UNUSED_MODULES = (
    *(f"drivers/{name}" for name in ("gpu", "hv", "iio", "infiniband", "md", "mtd", "nvme", "scsi", "target", "xen")),
    "drivers/net/ethernet",
    *(f"fs/{name}" for name in ("btrfs", "ceph", "cifs", "f2fs", "gfs2", "jfs", "nfs", "nfsd", "ocfs2", "reiserfs", "smb")),
    *(f"net/{name}" for name in ("batman-adv", "ceph", "dccp", "mpls", "openvswitch", "rds", "rxrpc", "sctp", "tipc")),
    "sound",
)
LAB_DISK_MODULES = ("virtio_pci", "virtio_blk")
GUEST_MODULES = (
    "virtio_pci",
    "virtio_mmio",
    "virtio_net",
    "virtio_blk",
    "virtio_balloon",
    "button",
    "evdev",
)
LOADED_MODULES = ("virtio_console", "kvm-amd", "tun", "vhost_net", "bridge")
REFUSED_MODULES = (
    *("aesni_intel", "ghash_clmulni_intel", "crc32_pclmul", "crct10dif_pclmul", "sha512_ssse3", "sha256_ssse3"),
    *("sha1_ssse3", "cryptd", "i2c_i801", "lpc_ich", "iTCO_wdt", "psmouse", "pcspkr", "serio_raw", "sr_mod", "ahci"),
    *("libata", "parport_pc", "evdev", "button", "joydev", "qemu_fw_cfg", "efi_pstore", "rapl", "intel_rapl_msr"),
    *("intel_rapl_common", "msr", "ccp"),
)
"""Modules that only cost time under TCG: hardware that the lab does not use, and crypto that it emulates slowly."""
MASKED_UNITS = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
    *("e2scrub_reap.service", "getty@tty1.service", "getty-static.service", "systemd-binfmt.service"),
    *("systemd-firstboot.service", "systemd-pcrphase.service", "systemd-pcrphase-sysinit.service"),
    *("systemd-random-seed.service", "systemd-tmpfiles-clean.timer", "systemd-update-utmp.service"),
    *("systemd-update-utmp-runlevel.service", "systemd-ask-password-console.path", "sys-kernel-debug.mount"),
    *("systemd-ask-password-wall.path", "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount"),
    *("dev-mqueue.mount", "systemd-remount-fs.service"),
)
FILES = {
    "etc/hostname": "labhost\n",
    "etc/hosts": "127.0.0.1 localhost labhost\n",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "etc/fstab": "/dev/vda / ext4 defaults,noatime 0 0\n",
    "etc/modules-load.d/lab.conf": "".join(f"{name}\n" for name in LOADED_MODULES),
    "etc/modprobe.d/lab.conf": "".join(f"blacklist {name}\n" for name in REFUSED_MODULES),
    # every line of the journal also leaves the lab as it is written: it can be read when the lab is dead
    "etc/systemd/journald.conf.d/lab.conf": (
        "[Journal]\nStorage=persistent\nForwardToConsole=yes\nTTYPath=/dev/hvc0\nMaxLevelConsole=debug\n"
        "RateLimitIntervalSec=0\nSystemMaxUse=128M\n"
    ),
}
DISK_BYTES = 6 << 30

_SOURCES = ("recipe.py", "rootfs.py", "kernel.py", "initramfs.py", "image.py", "apt_sources.py", "fetch-kernel.sh")


def dependencies() -> tuple[str, ...]:
    """Return what the project needs at run time, as pyproject.toml says it."""
    with (PROJECT / "pyproject.toml").open("rb") as file:
        names: list[str] = tomllib.load(file)["project"]["dependencies"]
    return tuple(sorted(names))


def digest(*parts: str | Path) -> str:
    """Return a short digest of texts and of files' contents (a folder: all its files, with their names)."""
    state = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            state.update(part.encode() + b"\0")
            continue
        files = sorted(path for path in part.rglob("*") if path.is_file()) if part.is_dir() else [part]
        for path in files:
            if "__pycache__" not in path.parts:
                state.update(str(path.relative_to(part.parent)).encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()[:16]


def image_key(release: str) -> str:
    """Return the key of the image for a release: it changes with anything that would change the image.

    The kernel's and the packages' versions are the mirror's at the time of the build; they are recorded beside the
    image (`image.json`) and do not take part, so that a cached image works without a network.
    """
    return digest(release, *dependencies(), HERE / "inside", *(HERE / name for name in _SOURCES))
