"""The host settings: four optional sections, one flat class."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qsup.bytesize import MIB
from qsup.spec.schema import keys_of
from qsup.spec.settings import SettingsSpec, parse_settings
from tests.spec.generated import cpulists

ALL_KEYS = """
[daemon]
qemu = "/opt/qemu/bin/qemu-system-x86_64"
on_removed = "shutdown"
max_parallel_starts = 2
unresponsive_after_s = 2.5
scopes = false
api_group = "kvm-operators"
exact_wait = true
metrics_address = "[::1]:9101"

[place]
housekeeping = "0,16"
host_nodes = "1"
strategy = "spread"
overcommit = 4
reserved_memory = "1GiB"
reserved_2mib_pages = 16
reserved_1gib_pages = [0, 2]
grow_hugepages = false

[user]
uid_first = 100000
uid_count = 500

[network]
create_bridges = true
"""


def test_empty_file_gives_the_defaults() -> None:
    assert parse_settings("", file="settings.toml") == SettingsSpec()


def test_auto_is_the_same_as_absent() -> None:
    text = '[daemon]\nscopes = "auto"\n[place]\nhousekeeping = "auto"\n'
    assert parse_settings(text, file="settings.toml") == SettingsSpec()


def test_every_key_is_read() -> None:
    settings = parse_settings(ALL_KEYS, file="settings.toml")
    assert settings == SettingsSpec(
        qemu="/opt/qemu/bin/qemu-system-x86_64",
        on_removed="shutdown",
        max_parallel_starts=2,
        unresponsive_after_s=2.5,
        scopes=False,
        api_group="kvm-operators",
        exact_wait=True,
        metrics_address="[::1]:9101",
        housekeeping=frozenset({0, 16}),
        host_nodes=frozenset({1}),
        strategy="spread",
        overcommit=4,
        reserved_memory_bytes=(1024 * MIB,),
        reserved_2mib_pages=(16,),
        reserved_1gib_pages=(0, 2),
        grow_hugepages=False,
        uid_first=100_000,
        uid_count=500,
        create_bridges=True,
    )
    assert all(getattr(settings, field.name) != field.default for field in keys_of(SettingsSpec))


@given(
    st.builds(
        SettingsSpec,
        scopes=st.none() | st.booleans(),
        housekeeping=st.none() | cpulists(),
        reserved_memory_bytes=st.lists(st.integers(0, 1 << 40), min_size=1, max_size=8).map(tuple),
        uid_first=st.integers(65536, 2**31),
        create_bridges=st.booleans(),
    )
)
def test_written_settings_are_read_back(settings: SettingsSpec) -> None:
    lines: list[str] = []
    section = ""
    for field in keys_of(SettingsSpec):
        if field.key.section != section:
            section = field.key.section
            lines.append(f"[{section}]")
        lines.append(f"{field.toml} = {field.key.reader.format(getattr(settings, field.name))}")
    assert parse_settings("\n".join(lines), file="settings.toml") == settings
