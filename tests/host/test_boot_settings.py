"""What is set for the next boot."""

from __future__ import annotations

from pathlib import Path

import pytest

from qsup.bytesize import GIB, MIB
from qsup.host.boot_settings import boot_words, read_boot_settings
from qsup.host.record import tree_of_host, write_tree

POOL = "/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"


@pytest.mark.parametrize(
    ("cmdline", "size"), [("default_hugepagesz=1G", GIB), ("hugepagesz=1G hugepages=2", 2 * MIB), ("", 2 * MIB)]
)
def test_the_page_size_that_sysctl_speaks_of(cmdline: str, size: int, tmp_path: Path) -> None:
    write_tree({"/proc/cmdline": cmdline + "\n"}, str(tmp_path))
    assert read_boot_settings(str(tmp_path)).default_page_bytes == size


def test_a_recording_keeps_the_lines_that_set_pools_and_no_others(tmp_path: Path) -> None:
    tree = {
        "/proc/cmdline": "root=/dev/sda1\n",
        "/etc/sysctl.d/a.conf": "kernel.hostname = secret\nvm.nr_hugepages = 7\n",
        "/usr/lib/sysctl.d/a.conf": "vm.nr_hugepages = 9\n",
        "/etc/tmpfiles.d/b.conf": f"d /srv/secret\nw {POOL} - - - - 12\n",
    }
    write_tree(tree, str(tmp_path / "host"))
    recorded = tree_of_host(str(tmp_path / "host"))
    assert "secret" not in str(recorded)
    write_tree(recorded, str(tmp_path / "copy"))
    again = read_boot_settings(str(tmp_path / "copy"))
    assert again == read_boot_settings(str(tmp_path / "host"))
    assert again.pages_on(1, 2 * MIB, [0, 1]) == 12


def settings_of(root: Path, tree: dict[str, str], size: int, node: int = 0) -> int:
    write_tree(tree, str(root))
    return read_boot_settings(str(root)).pages_on(node, size, [0, 1])


@pytest.mark.parametrize(
    ("cmdline", "size", "node", "count"),
    [
        ("hugepages=100", 2 * MIB, 0, 50),
        ("hugepages=101", 2 * MIB, 0, 51),
        ("hugepages=101", 2 * MIB, 1, 50),
        ("hugepagesz=1G hugepages=8", GIB, 1, 4),
        ("hugepagesz=1G hugepages=0:3,1:5 hugepagesz=2M hugepages=10", GIB, 1, 5),
        ("hugepagesz=1G hugepages=0:3,1:5 hugepagesz=2M hugepages=10", 2 * MIB, 1, 5),
        ("default_hugepagesz=1G hugepages=4", GIB, 0, 2),
        ("hugepages=lots hugepagesz=huge", 2 * MIB, 0, 0),
        ("quiet splash", 2 * MIB, 0, 0),
    ],
)
def test_the_kernel_command_line(cmdline: str, size: int, node: int, count: int, tmp_path: Path) -> None:
    assert settings_of(tmp_path, {"/proc/cmdline": cmdline + "\n"}, size, node) == count


def test_sysctl_and_tmpfiles(tmp_path: Path) -> None:
    tree = {
        "/etc/sysctl.d/80-pages.conf": "# pages\nvm.nr_hugepages = 64\n",
        "/etc/sysctl.d/80-pages.conf.bak": "vm.nr_hugepages = 1\n",
        "/etc/tmpfiles.d/qsup.conf": f"w {POOL} - - - - 4096\n# w {POOL} - - - - 1\n",
    }
    assert settings_of(tmp_path, tree, 2 * MIB, 0) == 32
    assert settings_of(tmp_path, {}, 2 * MIB, 1) == 4096


def test_a_later_directory_masks_its_namesake(tmp_path: Path) -> None:
    tree = {"/usr/lib/sysctl.d/50.conf": "vm.nr_hugepages=10\n", "/etc/sysctl.d/50.conf": "\n"}
    assert settings_of(tmp_path, tree, 2 * MIB) == 0
    assert settings_of(tmp_path, {"/etc/sysctl.conf": "vm/nr_hugepages=20\n"}, 2 * MIB) == 10


def test_nothing_is_set_where_nothing_can_be_read(tmp_path: Path) -> None:
    settings = read_boot_settings(str(tmp_path))
    assert (settings.pages_on(0, 2 * MIB, [0]), settings.words) == (0, ())


def test_a_recording_keeps_no_other_words(tmp_path: Path) -> None:
    write_tree({"/proc/cmdline": "root=UUID=1234 isolcpus=2-3 secret=x hugepages=4\n"}, str(tmp_path))
    assert tree_of_host(str(tmp_path))["/proc/cmdline"] == "isolcpus=2-3 hugepages=4\n"
    assert boot_words("nosmt=force x=nosmt") == ("nosmt=force",)
