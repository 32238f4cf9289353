"""docs/config.md, made from the schema: a key is documented where it is declared, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attrs import NOTHING

from qsup.spec.schema import KeyField, keys_of
from qsup.spec.settings import SettingsSpec
from qsup.spec.vmspec import VmSpec

PAGE = Path(__file__).parents[2] / "docs" / "config.md"

INTRODUCTION = """\
# The configuration files

<!-- Made from qsup/spec by `pytest tests/spec --regenerate`: change the declarations there, not this page. -->

One TOML file per virtual machine, `NAME.toml`, in the config directory (`/etc/qsup/vms.d` by default). The file's name
is the VM's name: 1 to 48 letters, digits, `.`, `_` and `-`, the first one a letter or a digit. The file is UTF-8 and has
at most 1 MiB. This is a whole one:

```toml
[cpu]
vcpus = 4

[memory]
size = "8GiB"

[[disk]]
path = "/srv/vm/web1.qcow2"

[[nic]]
bridge = "br0"
```

`qsup check FILE` shows every problem of a file at once, each with its line, a stable code and what to do about it:

```text
web1.toml:2:9: error [spec.out-of-range]: cpu.vcpus = 0 is out of range: accepted is a whole number from 1 to 1024
  hint: write 1 or more
```

Values are never converted: `"4"` is not a number, `1` is not `true`. Sizes are strings with a unit, one of B, KiB, MiB,
GiB, TiB. Times are numbers of seconds, and their keys end in `_s`. Sets of pCPUs, vCPUs or nodes are a number or a string
in the kernel's cpulist notation (`"0-3,8"`). Paths are absolute and without `.` and `..`.

## What a change takes

qsup never restarts a VM because its file changed: `qsup status` shows what is pending, and reverting the file clears it.
Each key says what its change takes to come into force:

| class | meaning |
|---|---|
| `live` | applied to the running VM |
| `hotplug` | a device is added to or taken from the running VM |
| `guest-reset` | in force after `qsup reset` |
| `cold-restart` | in force after `qsup restart`: QEMU has to end and start anew |
| `none` | nothing has to be done to the VM |

No key is `live`, `hotplug` or `guest-reset` today.

# A virtual machine
"""

SETTINGS_INTRODUCTION = """\
# The host settings

The file is named by `qsup daemon --settings FILE`. Every section and every key may be left out.
"""

TABLE_HEAD = "| key | accepts | default | meaning | a change takes |\n|---|---|---|---|---|\n"


def config_page() -> str:
    """The whole page as Markdown."""
    sections = [_vm_section(field) for field in keys_of(VmSpec)]
    names = dict.fromkeys(field.key.section for field in keys_of(SettingsSpec))
    settings = [_settings_section(name) for name in names]
    return "\n".join([INTRODUCTION, *sections, SETTINGS_INTRODUCTION, *settings])


def _vm_section(field: KeyField) -> str:
    table = field.key.reader.table
    assert table is not None, f"{field.name} is not a section"
    is_list = isinstance(field.default, tuple)
    header = f"[[{field.toml}]]" if is_list else f"[{field.toml}]"
    sentences = [field.key.doc]
    if field.required:
        sentences.append("This section is required.")
    if is_list:
        sentences.append(f"Any number of them. Adding or removing one takes a {field.key.effect}: {field.key.reason}.")
    parts = [f"## `{header}`\n", " ".join(sentences) + "\n", _table(keys_of(table))]
    for inner in keys_of(table):
        if inner.key.reader.table is not None:
            parts.append(f"Each table in `{inner.toml}`:\n")
            parts.append(_table(keys_of(inner.key.reader.table)))
    return "\n".join(parts)


def _settings_section(name: str) -> str:
    keys = [field for field in keys_of(SettingsSpec) if field.key.section == name]
    return f"## `[{name}]`\n\n{_table(keys)}"


def _table(keys: Sequence[KeyField]) -> str:
    return TABLE_HEAD + "".join(_row(field) for field in keys)


def _row(field: KeyField) -> str:
    key = field.key
    cells = (f"`{field.toml}`", key.reader.accepts, _default(field), key.doc, f"`{key.effect}`: {key.reason}")
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


def _default(field: KeyField) -> str:
    if field.key.absent:
        return field.key.absent
    if field.default is NOTHING:
        return "**required**"
    return f"`{field.key.reader.format(field.default)}`"
