"""What was asked: the TOML text of one file becomes a spec, or every problem of it at once.

Enters: the text of a file and the name to show for it.
Leaves: a VmSpec or SettingsSpec, or InvalidInput with all problems in file order, each with line, column, code and hint.
May touch: nothing. The same text gives the same answer, on any machine.
Must not: know the host (do the pCPUs exist? is the image there?) or QEMU's flags; guess; convert one type into another.

Start reading at `memory.py`: a section is one attrs class, and each key declares there, in one place, its TOML name, its
reader (type, range), its default, its documentation and what a change of it takes. A new key is a new field: parsing,
error messages, `changes_of` and docs/config.md follow from it. A rule between keys of one section stands below its
class, one between sections in `vmspec.py`. Then `parse.py` (the way in), `tables.py` (how a table becomes a section),
`readers.py` and `words.py` (the kinds of values), `locate.py` (where in the text a key stands; only run for a faulty file).
"""
